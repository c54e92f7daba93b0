"""Nets that classify images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.nets.net import Net, conv, picture


class SqueezeExcite(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.squeeze, self.excite = nn.Conv2d(channels, channels // 4, 1), nn.Conv2d(channels // 4, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        scale = F.relu(self.squeeze(F.adaptive_avg_pool2d(x, 1)))
        return x * F.hardsigmoid(self.excite(scale))


class InvertedV3(nn.Module):
    """MobileNetV3's block: expanded, convolved depthwise, weighted by channel, projected."""

    def __init__(self, inputs: int, hidden: int, outputs: int, kernel: int, stride: int, squeeze: bool, act):
        super().__init__()
        self.body = nn.Sequential(
            conv(inputs, hidden, 1, act=act),
            conv(hidden, hidden, kernel, stride, hidden, act=act),
            SqueezeExcite(hidden) if squeeze else nn.Identity(),
            conv(hidden, outputs, 1),
        )
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.residual else self.body(x)


class MobileNetV3(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            conv(3, 8, 3, 2, act=nn.Hardswish),
            InvertedV3(8, 16, 8, 3, 1, True, nn.ReLU),
            InvertedV3(8, 24, 12, 3, 2, False, nn.ReLU),
            InvertedV3(12, 36, 12, 5, 1, True, nn.Hardswish),
            conv(12, 48, 1, act=nn.Hardswish),
        )
        self.classifier = nn.Sequential(nn.Linear(48, 64), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(64, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(F.adaptive_avg_pool2d(self.features(x), 1), 1))


class Shuffled(nn.Module):
    """ShuffleNetV2's block: one half passes, the other is convolved, and their channels are shuffled."""

    def __init__(self, channels: int):
        super().__init__()
        half = channels // 2
        self.branch = nn.Sequential(
            conv(half, half, 1, act=nn.ReLU), conv(half, half, 3, 1, half), conv(half, half, 1, act=nn.ReLU)
        )

    def forward(self, x: Tensor) -> Tensor:
        kept, changed = x.chunk(2, 1)
        both = torch.cat([kept, self.branch(changed)], 1)
        n, c, h, w = both.shape
        return both.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


class ShuffleNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.pool = conv(3, 16, act=nn.ReLU), nn.MaxPool2d(3, 2, 1)
        self.stage, self.fc = nn.Sequential(Shuffled(16), Shuffled(16), Shuffled(16)), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.stage(self.pool(self.stem(x))).mean([2, 3]))


class PreActivated(nn.Sequential):
    """DenseNet's layer: a batch norm that comes before a ReLU, so that no convolution can take it in."""

    def __init__(self, inputs: int, growth: int):
        super().__init__(nn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, growth, 3, padding=1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, super().forward(x)], 1)


class DenseNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 12, 3, 1, 1, bias=False),
            PreActivated(12, 8),
            PreActivated(20, 8),
            nn.BatchNorm2d(28),
            nn.ReLU(),
            nn.Conv2d(28, 14, 1, bias=False),
            nn.AvgPool2d(2),
            PreActivated(14, 8),
            PreActivated(22, 8),
            nn.BatchNorm2d(30),
            nn.ReLU(),
        )
        self.classifier = nn.Linear(30, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(F.adaptive_avg_pool2d(self.features(x), 1), 1))


class Separable(nn.Module):
    """Depthwise and pointwise convolutions with biases and no norms; the multiplier is 2 in the first."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.depthwise = nn.ModuleList([nn.Conv2d(8, 16, 3, 1, 1, groups=8), nn.Conv2d(24, 24, 3, 2, 1, groups=24)])
        self.pointwise = nn.ModuleList([nn.Conv2d(16, 24, 1), nn.Conv2d(24, 32, 1)])
        self.fc = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu6(self.stem(x))
        for depthwise, pointwise in zip(self.depthwise, self.pointwise, strict=True):
            x = F.relu6(pointwise(F.relu6(depthwise(x))))
        return self.fc(F.max_pool2d(x, 2).flatten(1))


NETS = {
    "mobilenet_v3": Net(MobileNetV3, picture()),
    "shufflenet": Net(ShuffleNet, picture()),
    "densenet": Net(DenseNet, picture()),
    "separable": Net(lambda: Separable(), picture(8)),
}
