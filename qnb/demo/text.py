"""English text that comes with Python, the help on its topics, and the metric of a model that continues it."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qnb.measures import Score

LENGTH = 64
"""Tokens that a model sees at once."""
HELD_OUT, CALIBRATION = 200, 256
"""Sequences."""


@dataclass(frozen=True)
class Texts:
    """ASCII codes ``[characters]`` int64, to train on and held out: each paragraph is in one of both."""

    train: Tensor
    test: Tensor


def load() -> Texts:
    """The help on all topics, every paragraph once; one of ten is held out, chosen by its checksum.

    Each version of Python changes some paragraphs. A paragraph that stays is held out by all of them.
    """
    from pydoc_data.topics import topics

    found = (p.rstrip() for name in sorted(topics) for p in topics[name].split("\n\n"))
    paragraphs = [p.encode("ascii", "ignore") + b"\n\n" for p in dict.fromkeys(found) if p]
    held_out = [zlib.crc32(p) % 10 == 0 for p in paragraphs]
    train, test = (
        b"".join(p for p, out in zip(paragraphs, held_out, strict=True) if out == is_test) for is_test in (0, 1)
    )
    return Texts(*(torch.frombuffer(bytearray(part), dtype=torch.uint8).long() for part in (train, test)))


def sequences(text: Tensor, count: int, length: int = LENGTH) -> Tensor:
    """``[count, length + 1]`` tokens, spread evenly over the text: one more than the model sees, to be predicted."""
    starts = torch.linspace(0, len(text) - length - 1, count).long()
    return text[starts[:, None] + torch.arange(length + 1)]


def cross_entropy(held_out: list[Tensor]) -> Callable[[nn.Module], Score]:
    """An evaluation function: the mean cross-entropy of the next token, in nats, with a value per sequence.

    Args:
        held_out: batches ``[n, tokens + 1]``. The model takes ``input_ids [n, tokens]`` and gives ``.logits``.
    """

    def evaluate(model: nn.Module) -> Score:
        losses = []
        with torch.no_grad():
            for tokens in held_out:
                logits = model(input_ids=tokens[:, :-1]).logits
                losses.append(F.cross_entropy(logits.transpose(1, 2), tokens[:, 1:], reduction="none").double().mean(1))
        per_sample = torch.cat(losses).tolist()
        return Score(sum(per_sample) / len(per_sample), per_sample=per_sample, higher_is_better=False)

    return evaluate
