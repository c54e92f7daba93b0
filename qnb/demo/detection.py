"""The metric of a detector: its outputs to detections, by non-maximum suppression, and those to F1."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from qnb.measures import Score

LEAST_SCORE, SAME_IOU = 0.5, 0.5
MOST = 32
"""Cells of a picture that are looked at, the best ones."""


def f1(
    held_out: Iterable[tuple[Tensor, Tensor, Tensor]], least_score: float = LEAST_SCORE
) -> Callable[[nn.Module], Score]:
    """An evaluation function: the mean over pictures of F1 = 2 TP / (2 TP + FP + FN), with a value per picture.

    A detection is right if it has the class of a shape that no better one has found, and an IoU of 0.5 with it.

    Args:
        held_out: batches of (images, boxes ``[n, shapes, 4]``, labels ``[n, shapes]``, -1 where there is no shape).
    """
    batches = list(held_out)

    def evaluate(model: nn.Module) -> Score:
        with torch.no_grad():
            found = [_f1(*detections(model(images), least_score), boxes, labels) for images, boxes, labels in batches]
        per_sample = torch.cat(found).tolist()
        return Score(sum(per_sample) / len(per_sample), per_sample=per_sample)

    return evaluate


def detections(output: Tensor | Mapping[str, Tensor], least_score: float = LEAST_SCORE) -> tuple[Tensor, Tensor]:
    """A detector's output to its detections, the best first.

    Args:
        output: ``[n, cells, 4 + classes]``, or ``{"boxes": [n, cells, 4], "scores": [n, cells, classes]}``.
        least_score: a detection has a score above it.

    Returns:
        Boxes ``[n, most, 4]`` and classes ``[n, most]``, -1 where there is no detection.
    """
    if isinstance(output, Tensor):
        boxes, scores = output[..., :4], output[..., 4:]
    else:
        boxes, scores = output["boxes"], output["scores"]
    best, labels = scores.max(-1)
    order = best.argsort(dim=1, descending=True, stable=True)[:, :MOST]
    best, labels = best.gather(1, order), labels.gather(1, order)
    boxes = boxes.gather(1, order[..., None].expand(-1, -1, 4))
    kept, overlaps = best > least_score, iou(boxes[:, :, None], boxes[:, None]) > SAME_IOU
    for i in range(kept.shape[1]):  # one that is kept takes out those after it
        kept[:, i + 1 :] &= ~(overlaps[:, i, i + 1 :] & kept[:, i, None])
    return boxes, torch.where(kept, labels, -1)


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of boxes ``[..., 4]`` (left, top, right, bottom).

    >>> iou(torch.tensor([0.0, 0, 2, 2]), torch.tensor([1.0, 0, 3, 2]))
    tensor(0.3333)
    """
    sides = torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])
    both = sides.clamp_min(0).prod(-1)
    areas = [(box[..., 2:] - box[..., :2]).clamp_min(0).prod(-1) for box in (a, b)]
    return both / (areas[0] + areas[1] - both).clamp_min(1e-9)


def _f1(found: Tensor, classes: Tensor, boxes: Tensor, labels: Tensor) -> Tensor:
    """``[n]``: F1 of each picture."""
    matches = (iou(found[:, :, None], boxes[:, None]) >= SAME_IOU) & (classes[..., None] == labels[:, None])
    left = labels >= 0
    right = torch.zeros(len(labels))
    for i in range(found.shape[1]):
        here = matches[:, i] & left & (classes[:, i, None] >= 0)
        first = here & (here.cumsum(1) == 1)
        left, right = left & ~first, right + first.any(1)
    return 2 * right / ((classes >= 0).sum(1) + (labels >= 0).sum(1)).clamp_min(1)
