"""Ops for `tools.pairs`: what makes a value and what reads it, each on ``[1, 8, 8, 8]`` and giving that shape again."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

C = 8
SHAPE = (1, C, 8, 8)


class Call(nn.Module):
    """A function of two values; most use the first alone."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]):
        super().__init__()
        self.function = function

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        return self.function(x, other)


class Layer(nn.Module):
    """A module of one value."""

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        return self.inner(x)


def _normed(norm: nn.Module) -> nn.Module:
    nn.init.normal_(norm.weight, 1.0, 0.3)
    nn.init.normal_(norm.bias, 0.0, 0.3)
    return norm


def _bilinear(x: Tensor, _) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear")[..., 4:12, 4:12]


def _shuffled(x: Tensor, _) -> Tensor:
    return x.unflatten(1, (2, 4)).transpose(1, 2).flatten(1, 2)


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "conv": lambda: nn.Conv2d(C, C, 3, padding=1),
    "conv depthwise": lambda: nn.Conv2d(C, C, 3, padding=1, groups=C),
    "conv dilated": lambda: nn.Conv2d(C, C, 3, padding=2, dilation=2),
    "conv transposed": lambda: nn.ConvTranspose2d(C, C, 3, padding=1),
    "linear": lambda: nn.Linear(8, 8),
    "prelu": lambda: nn.PReLU(C),
    "batch norm": lambda: _normed(nn.BatchNorm2d(C)),
    "layer norm": lambda: _normed(nn.LayerNorm(8)),
    "group norm": lambda: _normed(nn.GroupNorm(2, C)),
    "instance norm": lambda: _normed(nn.InstanceNorm2d(C, affine=True)),
    "max pool": lambda: nn.MaxPool2d(3, 1, 1),
    "average pool": lambda: nn.AvgPool2d(3, 1, 1),
}
WEIGHTED = ("conv", "conv depthwise", "conv dilated", "conv transposed", "linear")
"""With weights of 4, 8 or 16 bits; what other ops do depends on the activations' bits alone."""
FUNCTIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "matmul": lambda x, y: x @ y,
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "div": lambda x, y: x / (y.abs() + 1),
    "maximum": torch.maximum,
    "relu": lambda x, _: F.relu(x),
    "relu6": lambda x, _: F.relu6(x),
    "clamp": lambda x, _: x.clamp(-0.5, 0.7),
    "hardswish": lambda x, _: F.hardswish(x),
    "hardsigmoid": lambda x, _: F.hardsigmoid(x),
    "sigmoid": lambda x, _: torch.sigmoid(x),
    "tanh": lambda x, _: torch.tanh(x),
    "gelu": lambda x, _: F.gelu(x),
    "silu": lambda x, _: F.silu(x),
    "mish": lambda x, _: F.mish(x),
    "softplus": lambda x, _: F.softplus(x),
    "leaky relu": lambda x, _: F.leaky_relu(x, 0.1),
    "softmax": lambda x, _: torch.softmax(x, -1),
    "softmax of channels": lambda x, _: torch.softmax(x, 1),
    "exp": lambda x, _: torch.exp(x.clamp(max=2.0)),
    "log": lambda x, _: torch.log(x.abs() + 0.5),
    "sqrt": lambda x, _: torch.sqrt(x.abs()),
    "abs": lambda x, _: x.abs(),
    "neg": lambda x, _: -x,
    "sin": lambda x, _: torch.sin(x),
    "erf": lambda x, _: torch.erf(x),
    "times a number": lambda x, _: x * 1.7,
    "mean": lambda x, _: x.mean((2, 3), keepdim=True).expand(SHAPE),
    "resize": _bilinear,
    "rms norm": lambda x, _: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5),
    "where": lambda x, y: torch.where(y > 0, x, y),
}
MOVES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "nothing": lambda x, _: x,
    "reshape": lambda x, _: x.reshape(1, 16, 4, 8).reshape(SHAPE),
    "transpose": lambda x, _: x.transpose(2, 3),
    "permute": lambda x, _: x.permute(0, 2, 3, 1),
    "slice": lambda x, _: x[:, :, 1:7, 1:7].repeat(1, 1, 2, 2)[..., :8, :8],
    "pad": lambda x, _: F.pad(x, (1, 1, 1, 1))[..., :8, :8],
    "pad with a number": lambda x, _: F.pad(x, (1, 1, 1, 1), value=0.2)[..., :8, :8],
    "nearest": lambda x, _: F.interpolate(x, scale_factor=2.0)[..., 4:12, 4:12],
    "split": lambda x, _: x.chunk(2, 1)[1].repeat(1, 2, 1, 1),
    "channel shuffle": _shuffled,
    "pixel shuffle": lambda x, _: F.pixel_shuffle(x, 2).reshape(SHAPE),
    "pixel unshuffle": lambda x, _: F.pixel_unshuffle(x, 2).reshape(SHAPE),
    "roll": lambda x, _: torch.roll(x, 3, -1),
    "flip": lambda x, _: x.flip(-1),
    "amax": lambda x, _: x.amax(1, True).expand(SHAPE),
}
JOINS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "concat": lambda x, y: torch.cat([x, y], 1),
    "stack": lambda x, y: torch.stack([x, y], 1).flatten(1, 2),
    "add": lambda x, y: x + y,
    "mul": lambda x, y: x * y,
}
OPS = (*LAYERS, *FUNCTIONS)


def op(name: str) -> nn.Module:
    """A new op of this name, with random weights where it has any."""
    if name in LAYERS:
        return Layer(LAYERS[name]())
    return Call({**MOVES, **FUNCTIONS}[name])


class Pair(nn.Module):
    """A value that is made, perhaps moved, and read.

    ``both`` gives it out too, so that it has a second reader; ``behind`` makes it of a convolution's output.
    """

    def __init__(self, maker: str, reader: str, move: str = "nothing", both: bool = False, behind: bool = False):
        super().__init__()
        self.before = op("conv" if behind else "nothing")
        self.maker, self.move, self.reader, self.both = op(maker), op(move), op(reader), both

    def forward(self, x: Tensor, y: Tensor):
        made = self.maker(self.before(x, y), y)
        read = self.reader(self.move(made, y), y)
        return (read, made) if self.both else read


class Join(nn.Module):
    """Two values that are made, the first perhaps moved, and joined."""

    def __init__(self, first: str, second: str, join: str, move: str = "nothing"):
        super().__init__()
        self.first, self.second, self.move, self.join = op(first), op(second), op(move), JOINS[join]

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.join(self.move(self.first(x, y), y), self.second(y, x))
