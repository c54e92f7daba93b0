"""Values that FP16 does not hold."""

from __future__ import annotations

import torch
from torch import nn

from tests.workflow.diagnosis.plants.plant import (
    Pixels,
    Planted,
    Times,
    plant,
    planted,
    transformer,
)


def _value_scale(scale: float) -> nn.Module:
    """Values of one attention are scaled, the output projection and a factor behind it make up for that."""
    model = transformer()
    block = model.blocks[1]
    part = scale**0.5
    with torch.no_grad():
        block.qkv.weight[80:] *= scale
        block.qkv.bias[80:] *= scale
        block.out.weight /= part
        block.out.bias *= part
    block.out = nn.Sequential(block.out, Times(1 / part))
    return Pixels(model)


@plant("float16_overflow", 1e5, 3e5, 1e6)
def float16_overflow(scale: float) -> Planted:
    return planted(_value_scale(scale), "fp16", "model.blocks.1.qkv")


@plant("float16_underflow", 5e-7, 2e-7, 1e-7)
def float16_underflow(scale: float) -> Planted:
    return planted(_value_scale(scale), "fp16", "model.blocks.1.qkv")


@plant("float16_weights", 3e5, 5e5, 1e6)
def float16_weights(scale: float) -> Planted:
    """One channel of a norm is quiet, the weights that read it make up for that."""
    model = transformer()
    block, channel = model.blocks[1], 7
    with torch.no_grad():
        for tensor in (block.norm1.weight, block.norm1.bias):
            tensor[channel] /= scale
        block.qkv.weight[:, channel] *= scale
    return planted(Pixels(model), "fp16", "model.blocks.1.qkv")
