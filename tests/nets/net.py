"""What a net of this package is, and random weights that let a signal through."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

WEIGHTED = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm, nn.modules.instancenorm._InstanceNorm)


@dataclass(frozen=True)
class Net:
    """``inputs`` gives a batch of so many samples, as the model takes it."""

    make: Callable[[], nn.Module]
    inputs: Callable[[int], tuple | dict]

    def built(self) -> tuple[nn.Module, list]:
        """The model, and four batches of one sample. The same each time."""
        torch.manual_seed(0)
        model = self.make().eval()
        lively(model, self.inputs(8))
        return model, [self.inputs(1) for _ in range(4)]


def lively(model: nn.Module, batch: tuple | dict) -> None:
    """Give every layer an output of about unit variance, channels that differ, and batch norms that know the data.

    Weights as PyTorch draws them shrink the signal from layer to layer, until nothing is left to compare.
    """
    hooks = []
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, WEIGHTED):
                axis = 1 if isinstance(module, nn.ConvTranspose2d) else 0
                shape = [-1 if i == axis else 1 for i in range(module.weight.dim())]
                module.weight *= torch.randn(module.weight.shape[axis]).mul(0.3).exp().view(shape)
                hooks.append(module.register_forward_hook(_Once()))
            elif isinstance(module, NORMS) and module.weight is not None:
                nn.init.normal_(module.weight, 1.0, 0.3)
                nn.init.normal_(module.bias, 0.0, 0.3)
            elif isinstance(module, nn.PReLU):
                nn.init.uniform_(module.weight, 0.05, 0.4)
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.train().momentum = 1.0
        model(**batch) if isinstance(batch, dict) else model(*batch)
    for hook in hooks:
        hook.remove()
    model.eval()


class _Once:
    """Scales a layer's weights at its first call, so that what it gives has variance one."""

    def __init__(self):
        self.done = False

    def __call__(self, layer: nn.Module, _, output: Tensor) -> Tensor:
        if self.done:
            return output
        self.done, factor = True, 1 / output.std()
        for tensor in (layer.weight, layer.bias):
            if tensor is not None:
                tensor *= factor
        return output * factor


def picture(size: int = 16, channels: int = 3) -> Callable[[int], tuple]:
    """Makes inputs ``[n, channels, size, size]``."""
    return lambda n: (torch.randn(n, channels, size, size),)


def conv(
    inputs: int,
    outputs: int,
    kernel: int = 3,
    stride: int = 1,
    groups: int = 1,
    act: Callable[[], nn.Module] = nn.Identity,
) -> nn.Sequential:
    """Convolution, batch norm and activation."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), act())
