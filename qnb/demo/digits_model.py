"""A MobileNet in miniature: inverted residual blocks with depthwise convolutions (Sandler et al. 2018)."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

WIDTH = 8
"""Channels. Few, so that what low precision costs can be seen."""


def conv(
    inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1, act: bool = True
) -> nn.Sequential:
    layers = [
        ("conv", nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)),
        ("bn", nn.BatchNorm2d(outputs)),
    ]
    return nn.Sequential(OrderedDict(layers + ([("act", nn.ReLU6())] if act else [])))


class InvertedResidual(nn.Module):
    """1x1 expansion, 3x3 depthwise, 1x1 projection; added to the input where shapes allow."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int):
        super().__init__()
        hidden = inputs * expansion
        self.expand = conv(inputs, hidden)
        self.depthwise = conv(hidden, hidden, 3, stride, hidden)
        self.project = conv(hidden, outputs, act=False)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y


class DigitsNet(nn.Module):
    """Images ``[N, 1, 8, 8]`` to logits ``[N, 10]``."""

    def __init__(self):
        super().__init__()
        self.stem = conv(1, WIDTH, 3)
        self.blocks = nn.Sequential(*(InvertedResidual(WIDTH, WIDTH, stride, 3) for stride in (1, 2, 1, 2, 1)))
        self.head = conv(WIDTH, 2 * WIDTH)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(2 * WIDTH, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(self.head(self.blocks(self.stem(x))))
        return self.classifier(x.flatten(1))
