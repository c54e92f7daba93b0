"""A single-shot detector in miniature: two scales, no anchor shapes, boxes as distances from the cell's centre."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIDE = 64
FARTHEST = 32.0
"""The largest distance from a cell's centre to a side of its box, in pixels of the image."""


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU())


def centres(stride: int) -> Tensor:
    """``[cells, 2]``: x and y in pixels of the image, row by row."""
    at = (torch.arange(SIDE // stride) + 0.5) * stride
    return torch.cartesian_prod(at, at).flip(1)


class Head(nn.Module):
    """Features ``[n, inputs, h, w]`` to boxes ``[n, h * w, 4]`` and scores ``[n, h * w, classes]``."""

    def __init__(self, inputs: int, classes: int, stride: int, scale: float):
        super().__init__()
        self.farthest = FARTHEST * scale
        self.features = conv(inputs, 24)
        self.distances, self.scores = nn.Conv2d(24, 4, 1), nn.Conv2d(24, classes, 1)
        self.scores.bias.data.fill_(-4.0)  # most cells find nothing (Lin et al. 2017, arXiv 1708.02002)
        self.register_buffer("centres", centres(stride) * scale, persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.features(x)
        distances = self.distances(x).flatten(2).transpose(1, 2).sigmoid() * self.farthest
        scores = self.scores(x).flatten(2).transpose(1, 2).sigmoid()
        before, after = distances.chunk(2, -1)
        return torch.cat([self.centres - before, self.centres + after], -1), scores


class Detector(nn.Module):
    """Images ``[n, 3, 64, 64]`` to boxes (left, top, right, bottom) and scores of 320 cells.

    Args:
        pixels: boxes are in pixels of a picture of this side, of which the image is a smaller copy.
        separate: return ``{"boxes": [n, 320, 4], "scores": [n, 320, classes]}``. By default both are concatenated to
            one tensor ``[n, 320, 4 + classes]``, as detectors are often exported.
    """

    def __init__(self, classes: int = 3, pixels: int = SIDE, separate: bool = False):
        super().__init__()
        self.separate = separate
        self.stem = conv(3, 16, stride=2)
        self.down1, self.block1 = conv(16, 24, stride=2), conv(24, 24)
        self.down2, self.block2 = conv(24, 48, stride=2), conv(48, 48)
        self.lateral, self.merge = conv(48, 24, 1), conv(48, 24)
        self.small, self.large = (Head(*a, scale=pixels / SIDE) for a in ((24, classes, 4), (48, classes, 8)))

    def forward(self, images: Tensor) -> Tensor | dict[str, Tensor]:
        near = self.down1(self.stem(images))
        near = near + self.block1(near)
        far = self.down2(near)
        far = far + self.block2(far)
        above = F.interpolate(self.lateral(far), scale_factor=2.0, mode="nearest")
        near = self.merge(torch.cat([near, above], 1))
        heads = self.small(near), self.large(far)
        boxes, scores = (torch.cat(parts, 1) for parts in zip(*heads, strict=True))
        return {"boxes": boxes, "scores": scores} if self.separate else torch.cat([boxes, scores], -1)
