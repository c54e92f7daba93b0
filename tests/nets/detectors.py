"""Nets that find things in images: heads for scores, boxes and classes, put together."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.nets.net import Net, conv, picture

silu = partial(conv, act=nn.SiLU)
leaky = partial(conv, act=lambda: nn.LeakyReLU(0.1))


class C2f(nn.Module):
    """YOLOv8's block: split, a chain of bottlenecks, and everything concatenated."""

    def __init__(self, inputs: int, outputs: int, count: int):
        super().__init__()
        half = outputs // 2
        self.first, self.last = silu(inputs, outputs, 1), silu((2 + count) * half, outputs, 1)
        self.chain = nn.ModuleList([nn.Sequential(silu(half, half), silu(half, half)) for _ in range(count)])

    def forward(self, x: Tensor) -> Tensor:
        found = list(self.first(x).chunk(2, 1))
        for step in self.chain:
            found.append(found[-1] + step(found[-1]))
        return self.last(torch.cat(found, 1))


class Yolo(nn.Module):
    """Two scales, pooled context, boxes as expectations over four bins, sigmoid classes."""

    bins, classes = 4, 5

    def __init__(self):
        super().__init__()
        self.stem, self.high = silu(3, 8, 3, 2), C2f(8, 16, 2)
        self.down, self.low = silu(16, 16, 3, 2), C2f(16, 16, 1)
        self.narrow, self.wide = silu(16, 8, 1), silu(32, 16, 1)
        self.neck = C2f(32, 16, 1)
        self.boxes = nn.ModuleList([nn.Sequential(silu(16, 16), nn.Conv2d(16, 4 * self.bins, 1)) for _ in range(2)])
        self.scores = nn.ModuleList([nn.Sequential(silu(16, 8), nn.Conv2d(8, self.classes, 1)) for _ in range(2)])
        self.register_buffer("bin", torch.arange(self.bins).float())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        high = self.high(self.stem(x))
        low = self.low(self.down(high))
        once = self.narrow(low)
        twice = F.max_pool2d(once, 5, 1, 2)
        low = self.wide(torch.cat([once, twice, F.max_pool2d(twice, 5, 1, 2), once + twice], 1))
        high = self.neck(torch.cat([F.interpolate(low, scale_factor=2.0, mode="nearest"), high], 1))
        found = [
            torch.cat([box(f), score(f)], 1).flatten(2)
            for box, score, f in zip(self.boxes, self.scores, (high, low), strict=True)
        ]
        boxes, scores = torch.cat(found, 2).split([4 * self.bins, self.classes], 1)
        n, _, places = boxes.shape
        boxes = boxes.view(n, 4, self.bins, places).transpose(1, 2).softmax(1)
        boxes = (boxes * self.bin.view(1, -1, 1, 1)).sum(1)
        near, far = boxes.chunk(2, 1)
        return torch.cat([(far - near) / 2, near + far], 1), scores.sigmoid()


class Ssd(nn.Module):
    """Sigmoid scores, boxes and softmax classes of two scales in one tensor."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(conv(3, 16, 3, 2, act=nn.ReLU), conv(16, 16, act=nn.ReLU))
        self.down = conv(16, 16, 3, 2, act=nn.ReLU)
        self.heads = nn.ModuleList([nn.Conv2d(16, 1 + 4 + 6, 3, padding=1) for _ in range(2)])

    def forward(self, x: Tensor) -> Tensor:
        high = self.stem(x)
        found = []
        for head, feature in zip(self.heads, (high, self.down(high)), strict=True):
            score, box, kind = head(feature).permute(0, 2, 3, 1).flatten(1, 2).split([1, 4, 6], -1)
            found.append(torch.cat([score.sigmoid(), box * 4, kind.softmax(-1)], -1))
        return torch.cat(found, 1)


class FacePRelu(nn.Module):
    """A face detector's first stage: PReLU after each convolution, probabilities, boxes and landmarks."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 10, 3),
            nn.PReLU(10),
            nn.MaxPool2d(2, ceil_mode=True),
            nn.Conv2d(10, 16, 3),
            nn.PReLU(16),
            nn.Conv2d(16, 24, 3),
            nn.PReLU(24),
        )
        self.face, self.box, self.points = nn.Conv2d(24, 2, 1), nn.Conv2d(24, 4, 1), nn.Linear(24 * 4, 10)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.features(x)
        return self.face(x).softmax(1), self.box(x), self.points(x.flatten(1))


class FaceLeaky(nn.Module):
    """LeakyReLU after each convolution, two scales added, context of three sizes concatenated before a ReLU."""

    def __init__(self):
        super().__init__()
        self.stem, self.high, self.low = leaky(3, 8, 3, 2), leaky(8, 16), leaky(16, 24, 3, 2)
        self.from_high, self.from_low, self.merge = leaky(16, 16, 1), leaky(24, 16, 1), leaky(16, 16)
        self.near, self.middle = conv(16, 8), nn.Sequential(leaky(16, 4), conv(4, 4))
        self.far = nn.Sequential(leaky(16, 4), leaky(4, 4), conv(4, 4))
        self.heads = nn.ModuleList([nn.Conv2d(16, n, 1) for n in (2, 4)])

    def forward(self, x: Tensor) -> list[Tensor]:
        high = self.high(self.stem(x))
        up = F.interpolate(self.from_low(self.low(high)), size=high.shape[-2:], mode="nearest")
        x = self.merge(self.from_high(high) + up)
        x = F.relu(torch.cat([self.near(x), self.middle(x), self.far(x)], 1))
        face, box = (head(x).permute(0, 2, 3, 1).flatten(1, 2) for head in self.heads)
        return [face.softmax(-1), box]


NETS = {
    "yolo": Net(Yolo, picture()),
    "ssd": Net(Ssd, picture()),
    "face_prelu": Net(FacePRelu, picture(14)),
    "face_leaky": Net(FaceLeaky, picture()),
}
