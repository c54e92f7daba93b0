"""What the demos' models are trained to do: a loss for some training samples, and the metric that is promised."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import qnb
from qnb.demo import data, detection, shapes, text
from qnb.demo.detector import HELD_OUT
from qnb.demo.detector_model import centres


class Task(Protocol):
    size: int
    """How many training samples."""
    batch: int
    """How many of them are learned from at once."""
    metric: str
    evaluate: Callable[[nn.Module], qnb.Score]

    def loss(self, model: nn.Module, index: Tensor) -> Tensor:
        """Of the training samples ``index [n]``."""
        ...


def shifted(images: Tensor) -> Tensor:
    """Each image moved by up to one pixel, as a person might have written it."""
    padded = F.pad(images, (1, 1, 1, 1))
    dy, dx = torch.randint(0, 3, (2, len(images)))
    rows = dy[:, None, None] + torch.arange(8)[None, :, None]
    columns = dx[:, None, None] + torch.arange(8)[None, None, :]
    return padded[torch.arange(len(images))[:, None, None], 0, rows, columns].unsqueeze(1)


class Digits:
    """Handwritten digits, shifted, to their classes."""

    metric, batch = "accuracy", 64

    def __init__(self):
        self.split = data.load()
        self.size = len(self.split.train)
        self.evaluate = qnb.accuracy([(self.split.test, self.split.test_labels)])

    def loss(self, model: nn.Module, index: Tensor) -> Tensor:
        output = model(shifted(self.split.train[index]))
        return F.cross_entropy(getattr(output, "logits", output), self.split.train_labels[index])


def flipped(images: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """All of them mirrored, or turned upside down, or both, or as they are."""
    across, down = torch.randint(0, 2, (2,)).tolist()
    if across:
        images, boxes = images.flip(3), torch.where(torch.tensor([True, False] * 2), shapes.SIDE - boxes, boxes)
    if down:
        images, boxes = images.flip(2), torch.where(torch.tensor([False, True] * 2), shapes.SIDE - boxes, boxes)
    left_top, right_bottom = (
        torch.minimum(boxes[..., :2], boxes[..., 2:]),
        torch.maximum(boxes[..., :2], boxes[..., 2:]),
    )
    return images, torch.cat([left_top, right_bottom], -1)


class Shapes:
    """Made pictures to the boxes and classes of what is in them."""

    metric, batch = "f1", 32
    size = 4096
    stride_of_small, stride_of_large, small = 4, 8, 20.0

    def __init__(self):
        self.cells = torch.cat([centres(self.stride_of_small), centres(self.stride_of_large)])
        self.strides = torch.tensor([4.0] * 256 + [8.0] * 64)
        test = shapes.pictures(HELD_OUT, shapes.HELD_OUT_SEED)
        self.evaluate = detection.f1([(test.images, test.boxes, test.labels)])

    @cached_property
    def pictures(self) -> shapes.Pictures:
        return shapes.pictures(self.size, shapes.TRAINING_SEED)

    def loss(self, model: nn.Module, index: Tensor) -> Tensor:
        """IoU loss of the boxes; of the scores cross-entropy, weighted by how wrong they are (arXiv 2006.04388)."""
        images, boxes = flipped(self.pictures.images[index], self.pictures.boxes[index])
        output = model(images)
        found, scores = output[..., :4], output[..., 4:]
        wanted, which = self.wanted(boxes, self.pictures.labels[index])
        truth = (which[..., None] == torch.arange(len(shapes.CLASSES))).float()
        weight = (scores - truth).detach().square()
        of_scores = (weight * F.binary_cross_entropy(scores, truth, reduction="none")).sum() / (which >= 0).sum()
        return 2 * of_scores + 2 * (1 - detection.iou(found, wanted))[which >= 0].mean()

    def wanted(self, boxes: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The box ``[n, cells, 4]`` and the class ``[n, cells]`` of the shape that a cell is to find, -1 for none.

        Small shapes are found by the cells of the small stride. Those within a stride of the shape's centre find it.
        """
        middle, sides = (boxes[..., :2] + boxes[..., 2:]) / 2, (boxes[..., 2:] - boxes[..., :2]).amax(-1)
        stride = torch.where(sides < self.small, 4.0, 8.0)
        near = (middle[:, None] - self.cells[None, :, None]).abs().amax(-1)  # [n, cells, shapes]
        fits = (near < self.strides[:, None]) & (self.strides[:, None] == stride[:, None]) & (labels[:, None] >= 0)
        chosen = torch.where(fits, near, torch.inf).argmin(-1)
        found = boxes.gather(1, chosen[..., None].expand(-1, -1, 4))
        return found, torch.where(fits.any(-1), labels.gather(1, chosen), -1)


class Characters:
    """The next character of Python's help, after up to 64."""

    metric, batch = "cross_entropy", 32
    size = 250 * 32

    def __init__(self):
        texts = text.load()
        self.text = texts.train
        self.evaluate = text.cross_entropy(list(text.sequences(texts.test, text.HELD_OUT).split(100)))

    def loss(self, model: nn.Module, index: Tensor) -> Tensor:
        """Each time other places of the text."""
        starts = torch.randint(0, len(self.text) - text.LENGTH - 1, (len(index), 1))
        tokens = self.text[starts + torch.arange(text.LENGTH + 1)]
        return F.cross_entropy(model(input_ids=tokens[:, :-1]).logits.transpose(1, 2), tokens[:, 1:])
