"""Samples of calibration and evaluation: which differ, which to leave out, which evaluation uses."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves, tree_map

from qnb.measures.metrics.evaluation import score_of
from qnb.sim.graph_model import ReferenceModel

if TYPE_CHECKING:
    from qnb.measures.layers.survey import Survey
    from qnb.workflow.workflow import Workflow

TRIED = 64
"""Remedies are tried on the first batches that hold so many samples together, two batches at least."""
RECORDED = 64
"""So many samples of the evaluation are kept to calibrate with."""


def sample_count(batch: Any) -> int:
    """Samples in a batch: the first dimension of its first tensor that has one."""
    return next((len(x) for x in tree_leaves(batch) if isinstance(x, torch.Tensor) and x.dim()), 1)


def first_batches(batches: Iterable, samples: int = TRIED) -> list:
    """The first batches that hold so many samples together, two at least."""
    found, seen = [], 0
    for batch in batches:
        found.append(batch)
        seen += sample_count(batch)
        if seen >= samples and len(found) > 1:
            break
    return found


@dataclass(frozen=True)
class Without:
    """Batches without some of their samples; a batch that has none left is left out.

    Args:
        batches: re-iterable, as the model takes them.
        samples: numbers, counted over all batches from 0.
    """

    batches: Any
    samples: Collection[int]

    def __iter__(self) -> Iterator:
        first = 0
        for batch in self.batches:
            count = sample_count(batch)
            keep = [i for i in range(count) if first + i not in self.samples]
            first += count
            if len(keep) == count:
                yield batch
            elif keep:
                yield tree_map(lambda x, keep=keep, count=count: _rows(x, keep, count), batch)


def without(batches: Any, samples: Collection[int]) -> Without:
    """Batches without the samples of these numbers."""
    return Without(batches, frozenset(samples))


def _rows(x: Any, keep: list[int], count: int) -> Any:
    return x[keep] if isinstance(x, torch.Tensor) and x.dim() and len(x) == count else x


def distinct(survey: Survey) -> int:
    """How many samples differ, by their least and largest value at the last layer that tells samples apart."""
    last = next((s for s in reversed(survey.layers.values()) if len(s.lows) == survey.samples), None)
    if last is None:
        return survey.samples
    return len({(f"{low:.4g}", f"{high:.4g}") for low, high in zip(last.lows, last.highs, strict=True)})


def evaluated_inputs(flow: Workflow) -> list:
    """The first inputs that ``evaluate`` gives the model, as batches; one evaluation in FP32."""
    model, seen = ReferenceModel(flow.captured, flow.captured.module), []

    def keep(_: nn.Module, args: tuple, kwargs: dict) -> None:
        if sum(map(sample_count, seen)) < RECORDED:
            batch = args[0] if len(args) == 1 and not kwargs else args or kwargs
            seen.append(tree_map(lambda x: x.detach().clone() if isinstance(x, torch.Tensor) else x, batch))

    handle = model.register_forward_pre_hook(keep, with_kwargs=True)
    try:
        score_of(flow.evaluate, model, "fp32", seed=flow.seed)
    finally:
        handle.remove()
    return seen
