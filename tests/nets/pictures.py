"""Nets that give pictures: masks, larger images, styles, images from codes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.models import UNet
from tests.nets.net import Net, conv, picture


class Fpn(nn.Module):
    """A pyramid: nearest neighbours added on the way down, all levels resized and concatenated for a mask."""

    def __init__(self):
        super().__init__()
        widths = (8, 12, 16)
        self.up = nn.ModuleList([conv(i, o, 3, 2, act=nn.ReLU) for i, o in zip((3, 8, 12), widths, strict=True)])
        self.lateral = nn.ModuleList([nn.Conv2d(width, 8, 1) for width in widths])
        self.smooth = nn.ModuleList([nn.Conv2d(8, 8, 3, padding=1) for _ in widths])
        self.head = nn.Sequential(conv(24, 12, act=nn.ReLU), nn.Conv2d(12, 3, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        levels = []
        for layer in self.up:
            x = layer(x)
            levels.append(x)
        found, above = [], None
        for level, lateral, smooth in reversed(list(zip(levels, self.lateral, self.smooth, strict=True))):
            here = lateral(level)
            above = here if above is None else here + F.interpolate(above, scale_factor=2.0, mode="nearest")
            found.append(smooth(above))
        size = levels[0].shape[-2:]
        same = [F.interpolate(f, size=size, mode="bilinear", align_corners=False) for f in found[:-1]]
        mask = self.head(torch.cat([*same, found[-1]], 1))
        return F.interpolate(mask, scale_factor=2.0, mode="bilinear", align_corners=False), found[0]


class SuperResolution(nn.Module):
    """Residual blocks, pixel shuffle, and the resized input added."""

    def __init__(self):
        super().__init__()
        self.head, self.tail = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 12, 3, padding=1)
        self.blocks = nn.ModuleList(
            [
                nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1))
                for _ in range(2)
            ]
        )
        self.shuffle = nn.PixelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.head(x)
        for block in self.blocks:
            y = y + block(y) * 0.5
        detail = self.shuffle(self.tail(y))
        return (detail + F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)).clamp(-2.0, 3.0)


class Decoder(nn.Module):
    """Codes to images, by transposed convolutions: with norms and LeakyReLU, with padding at the end, by channel."""

    def __init__(self):
        super().__init__()
        self.spread = nn.Linear(12, 16 * 4 * 4)
        self.up1, self.norm1 = nn.ConvTranspose2d(16, 12, 4, 2, 1, bias=False), nn.BatchNorm2d(12)
        self.up2, self.norm2 = nn.ConvTranspose2d(12, 8, 3, 2, 1, output_padding=1), nn.BatchNorm2d(8)
        self.smooth, self.out = nn.ConvTranspose2d(8, 8, 3, 1, 1, groups=8), nn.ConvTranspose2d(8, 3, 3, 1, 1)

    def forward(self, z: Tensor) -> Tensor:
        x = F.leaky_relu(self.spread(z), 0.2).view(-1, 16, 4, 4)
        x = F.leaky_relu(self.norm1(self.up1(x)), 0.2)
        x = F.relu(self.norm2(self.up2(x)))
        return torch.tanh(self.out(self.smooth(x)))


class Denoiser(nn.Module):
    """A step of a diffusion model: group norms, SiLU, and the time added to every channel."""

    def __init__(self):
        super().__init__()
        self.time = nn.Sequential(nn.Linear(8, 16), nn.SiLU(), nn.Linear(16, 16))
        self.stem, self.down = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 3, 2, 1)
        self.norms = nn.ModuleList([nn.GroupNorm(4, 16) for _ in range(4)])
        self.convs = nn.ModuleList([nn.Conv2d(16, 16, 3, padding=1) for _ in range(3)])
        self.out = nn.Conv2d(16, 3, 3, padding=1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        skip = self.stem(x)
        x = self.down(skip)
        y = self.convs[0](F.silu(self.norms[0](x))) + self.time(time)[:, :, None, None]
        x = x + self.convs[1](F.silu(self.norms[1](y)))
        x = F.interpolate(x, scale_factor=2.0, mode="nearest") + skip
        x = x + self.convs[2](F.silu(self.norms[2](x)))
        return self.out(F.silu(self.norms[3](x)))


class Style(nn.Module):
    """Style transfer: reflected borders, instance norms with and without weights, resize and convolution."""

    def __init__(self):
        super().__init__()
        self.first, self.down = nn.Conv2d(3, 8, 5), nn.Conv2d(8, 16, 3, 2)
        self.norms = nn.ModuleList([nn.InstanceNorm2d(c, affine=a) for c, a in ((8, 1), (16, 1), (16, 0), (8, 1))])
        self.inner, self.up, self.last = nn.Conv2d(16, 16, 3), nn.Conv2d(16, 8, 3), nn.Conv2d(8, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norms[0](self.first(F.pad(x, [2] * 4, "reflect"))))
        x = F.relu(self.norms[1](self.down(F.pad(x, [1] * 4, "reflect"))))
        x = x + self.norms[2](self.inner(F.pad(x, [1] * 4, "reflect")))
        x = F.pad(F.interpolate(x, scale_factor=2.0, mode="nearest"), [1] * 4, "reflect")
        x = F.relu(self.norms[3](self.up(x)))
        return torch.sigmoid(self.last(F.pad(x, [1] * 4, "reflect")))


NETS = {
    "unet": Net(UNet, picture()),
    "fpn": Net(Fpn, picture()),
    "super_resolution": Net(SuperResolution, picture(8)),
    "decoder": Net(Decoder, lambda n: (torch.randn(n, 12),)),
    "denoiser": Net(Denoiser, lambda n: (torch.randn(n, 3, 8, 8), torch.randn(n, 8))),
    "style": Net(Style, picture()),
}
