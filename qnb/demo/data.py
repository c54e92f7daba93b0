"""scikit-learn's handwritten digits: 1,797 grey images of 8 x 8 pixels (UCI, Alpaydin and Kaynak 1998)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

HELD_OUT = 540


@dataclass(frozen=True)
class Split:
    """Images ``[N, 1, 8, 8]`` float32 in [0, 1] and labels ``[N]`` int64, to train on and held out."""

    train: torch.Tensor
    train_labels: torch.Tensor
    test: torch.Tensor
    test_labels: torch.Tensor


def load() -> Split:
    """The same split each time: 540 images held out, every digit in both parts alike."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch: Any = load_digits()
    train, test = train_test_split(range(len(bunch.target)), test_size=HELD_OUT, stratify=bunch.target, random_state=0)
    images = torch.from_numpy(bunch.images).float().unsqueeze(1) / 16
    labels = torch.from_numpy(bunch.target).long()
    return Split(images[train], labels[train], images[test], labels[test])


def batches(images: torch.Tensor, size: int, count: int | None = None) -> list[torch.Tensor]:
    """The first ``count`` batches of ``size`` images; all by default."""
    return list(images.split(size))[:count]
