"""A MobileNet in miniature: inverted residual blocks with depthwise convolutions (Sandler et al. 2018)."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn


def conv(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1, act: bool = True):
    layers = [("conv", nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)),
              ("bn", nn.BatchNorm2d(outputs))]  # fmt: skip
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
        self.stem = conv(1, 12, 3)
        self.blocks = nn.Sequential(
            InvertedResidual(12, 12, 1, 3), InvertedResidual(12, 20, 2, 3), InvertedResidual(20, 20, 1, 3),
            InvertedResidual(20, 28, 2, 3), InvertedResidual(28, 28, 1, 3),
        )  # fmt: skip
        self.head = conv(28, 64)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(self.head(self.blocks(self.stem(x))))
        return self.classifier(x.flatten(1))
