"""Distillation: the simulation learns to give what FP32 gives, without labels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def soft_divergence(logits: Tensor, target: Tensor, temperature: float = 1.0) -> Tensor:
    """``T^2 KL(softmax(target / T) || softmax(logits / T))``, the mean over all but the last axis, in nats.

    Args:
        logits, target: class scores along the last axis, any one shape.
        temperature: T; above 1 the smaller scores have more say.

    Source: Hinton et al. 2015, arXiv 1503.02531.

    >>> soft_divergence(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 0.0]]))
    tensor(0.)
    """
    given, wanted = (F.log_softmax(x.float() / temperature, -1).flatten(0, -2) for x in (logits, target))
    return F.kl_div(given, wanted, reduction="batchmean", log_target=True) * temperature**2


def relative_error(value: Tensor, target: Tensor) -> Tensor:
    """``|value - target|^2 / |target|^2``: one over the SQNR, so that outputs of any scale weigh the same.

    >>> relative_error(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 3.0]))
    tensor(0.1000)
    """
    target = target.float()
    return (value.float() - target).square().sum() / target.square().sum().clamp(min=torch.finfo(torch.float32).tiny)


def class_scores(names: Sequence[str], targets: Sequence[Tensor]) -> list[bool]:
    """Which outputs are class scores before a softmax: those named logits, and a single output ``[N, classes]``.

    What a softmax gave already is none.
    """
    floats = [t for t in targets if t.is_floating_point()]

    def scores(name: str, target: Tensor) -> bool:
        if not target.is_floating_point() or target.dim() < 2 or target.shape[-1] < 2:
            return False
        if name.rpartition(".")[2] == "logits":
            return True
        single = len(floats) == 1 and target.dim() == 2
        return single and not (bool((target >= 0).all()) and torch.allclose(target.sum(-1), target.new_ones(())))

    return [scores(name, target) for name, target in zip(names, targets, strict=True)]


class Distillation:
    """The loss between a model's outputs and FP32's: `soft_divergence` of class scores, `relative_error` of others.

    Args:
        names: of the outputs.
        targets: FP32's in one batch.
        temperature: see `soft_divergence`.
    """

    def __init__(self, names: Sequence[str], targets: Sequence[Tensor], temperature: float = 1.0):
        self.temperature = temperature
        self.scores = class_scores(names, targets)

    def __call__(self, outputs: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
        """Their sum over all outputs of floats, a 0-dim tensor."""
        terms = [
            soft_divergence(y, t, self.temperature) if scores else relative_error(y, t)
            for y, t, scores in zip(outputs, targets, self.scores, strict=True)
            if t.is_floating_point()
        ]
        return torch.stack(terms).sum()
