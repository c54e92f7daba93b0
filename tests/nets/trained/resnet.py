"""A ResNet in miniature (He et al. 2016, arXiv 1512.03385), with 1x1 shortcuts, on digits of 16 x 16 pixels."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

import qnb
from qnb.demo import data
from tools.train_tasks import shifted


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, and a shortcut that is added before the last ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride > 1 or inputs != outputs:
            shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.shortcut = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class ResNet(nn.Module):
    """Images ``[n, 1, 16, 16]`` to logits ``[n, 10]``."""

    def __init__(self, width: int = 8):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        shapes = ((width, width, 1), (width, 2 * width, 2), (2 * width, 4 * width, 2), (4 * width, 4 * width, 1))
        self.blocks = nn.Sequential(*(BasicBlock(*shape) for shape in shapes))
        self.pool, self.classifier = nn.AdaptiveAvgPool2d(1), nn.Linear(4 * width, 10)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.pool(self.blocks(self.stem(images))).flatten(1))


make = ResNet


def doubled(images: Tensor) -> Tensor:
    """``[n, 1, 16, 16]``."""
    return F.interpolate(images, scale_factor=2.0, mode="bilinear", align_corners=False)


class Task:
    """For `tools.train_demo`."""

    metric, batch = "accuracy", 64

    def __init__(self):
        self.split = data.load()
        self.size = len(self.split.train)
        self.held_out, self.calibration = doubled(self.split.test), doubled(self.split.train[:256])
        labels = self.split.test_labels
        self.evaluate = qnb.accuracy(list(zip(self.held_out.split(100), labels.split(100), strict=True)))

    def loss(self, model: nn.Module, index: Tensor) -> Tensor:
        images = doubled(shifted(self.split.train[index]))
        return F.cross_entropy(model(images), self.split.train_labels[index])
