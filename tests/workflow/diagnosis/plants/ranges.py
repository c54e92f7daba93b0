"""Values that a range or the bits there do not suit."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import Tensor, nn

import qnb
from qnb.numerics import Grid, Precision
from qnb.targets import get
from tests.workflow.diagnosis.plants.plant import (
    Pixels,
    Planted,
    digits,
    first_ten,
    plant,
    planted,
    transformer,
)

PER_TENSOR = Precision(weights=Grid(8, symmetric=True), activations=Grid(16))


@plant("outlier_channels", 12.0, 40.0, 150.0)
def outlier_channels(scale: float) -> Planted:
    """One channel of a norm is loud, what reads it makes up for that."""
    model = transformer()
    block, channel = model.blocks[1], 7
    with torch.no_grad():
        for tensor in (block.norm1.weight, block.norm1.bias):
            tensor[channel] *= scale
        block.qkv.weight[:, channel] /= scale
    return planted(Pixels(model), "w8a8", "model.blocks.1.norm1")


@plant("unlike_weight_channels", 12.0, 40.0, 150.0)
def unlike_weight_channels(scale: float) -> Planted:
    """The value channels of one head are large, the output projection makes up for that."""
    model = transformer()
    block, width = model.blocks[1], 40
    with torch.no_grad():
        rows = torch.arange(2 * width, 2 * width + 4)
        block.qkv.weight[rows] *= scale
        block.qkv.bias[rows] *= scale
        block.out.weight[:, :4] /= scale
    return planted(Pixels(model), PER_TENSOR, "model.blocks.1.qkv")


class Joined(nn.Module):
    """Probabilities and large values in one tensor, as detectors return scores and boxes."""

    def __init__(self, model: nn.Module, scale: float):
        super().__init__()
        self.model, self.scale = model, scale

    def forward(self, x: Tensor) -> Tensor:
        logits = self.model(x)
        return torch.cat([torch.sigmoid(logits), logits * self.scale], 1)


@plant("shared_range", 2.0, 20.0, 200.0)
def shared_range(scale: float) -> Planted:
    return planted(Joined(digits(), scale), "w8a8", "sigmoid", evaluate=first_ten)


class Offset(nn.Module):
    def __init__(self, constant: float):
        super().__init__()
        self.constant = constant

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.constant) - self.constant


@plant("cancellation", 50.0, 300.0, 1000.0)
def cancellation(constant: float) -> Planted:
    model = digits()
    model.head = nn.Sequential(model.head, Offset(constant))
    return planted(model, "w8a8", "head.1.add")


@plant("loud_rows", 8.0, 20.0, 60.0)
def loud_rows(times: float) -> Planted:
    """Three rows of a table reach so many times as far as the others: those of characters that no text has."""
    demo = qnb.demo.language()
    model = copy.deepcopy(demo.model)
    with torch.no_grad():
        reach = model.embed.weight.abs().amax(1, keepdim=True)
        model.embed.weight[2:5] *= times * reach.median() / reach[2:5]
    return planted(model, "w8a16", "embed", demo=demo)


TIED = replace(get("generic"), name="tied", embedding_weights="activations")
"""A target of one's own. Those that come with qnb and tie tables to activations run none in fewer bits than weights."""


@plant("other_bits", 7, 6, 5)
def other_bits(bits: int) -> Planted:
    """A table in the bits of what is read out of it."""
    demo = qnb.demo.language()
    return planted(demo.model, "w16a16", "embed", demo=demo, target=TIED, layers={"embed": f"w16a{bits}"})


class Shut(nn.Module):
    """The transformer with the largest of the first twelve tokens in place of their mean."""

    def __init__(self, model: nn.Module, value: float):
        super().__init__()
        self.model, self.value = model, value
        self.register_buffer("out", torch.arange(16)[None, :, None] >= 12)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.model(pixels=x).tokens
        return self.model.classifier(tokens.masked_fill(self.out, self.value).amax(1))


@plant("masked_values", -100.0, -1000.0, -10000.0)
def masked_values(value: float) -> Planted:
    return planted(Shut(transformer(), value), "w8a8", "masked_fill")


@plant("coarse_output", 8, 6, 5)
def coarse_output(bits: int) -> Planted:
    return planted(digits(), "w16a16", "classifier", layers={"classifier": f"w16a{bits}"})
