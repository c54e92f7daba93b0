"""Trained models with one thing wrong in each, at three strengths, weakest first: what a diagnosis must name.

What is planted leaves the FP32 function as it was wherever it can: only quantization suffers.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import qnb
from qnb.demo import data
from qnb.demo.demo import Demo
from qnb.numerics import Grid, Precision
from qnb.targets import get

PER_TENSOR = Precision(weights=Grid(8, symmetric=True), activations=Grid(16))


@dataclass(frozen=True)
class Planted:
    """``flow`` with ``run`` in it, which a diagnosis of should name ``layer`` (empty: no layer) first."""

    flow: qnb.Workflow
    run: str
    layer: str


@dataclass(frozen=True)
class Plant:
    """``make(strength)`` plants a ``cause``."""

    cause: str
    strengths: tuple
    make: Callable[[Any], Planted]


PLANTS: dict[str, Plant] = {}


def plant(cause: str, *strengths: Any) -> Callable:
    """Register what plants a cause."""

    def register(make: Callable[[Any], Planted]) -> Callable[[Any], Planted]:
        PLANTS[cause] = Plant(cause, strengths, make)
        return make

    return register


def digits() -> nn.Module:
    return copy.deepcopy(qnb.demo.digits().model)


def transformer() -> nn.Module:
    return copy.deepcopy(qnb.demo.transformer().model)


def planted(
    model: nn.Module,
    precision: str | Precision,
    layer: str,
    *,
    calibration: Sequence | None = None,
    evaluate: Callable | None = None,
    target: Any = "generic",
    tolerance: float = 0.01,
    demo: Demo | None = None,
    **run: Any,
) -> Planted:
    """A workflow over a model that takes digits, or what ``demo`` gives, with one run."""
    demo = demo or qnb.demo.digits()
    flow = qnb.Workflow(
        model.eval(),
        demo.calibration[:4] if calibration is None else calibration,
        evaluate or demo.evaluate,
        target=target,
        tolerance=tolerance,
    )
    return Planted(flow, flow.run(precision, name="planted", **run).name, layer)


class Pixels(nn.Module):
    """The transformer, called as the other models are; ``cut`` takes the logits."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(pixels=x).logits


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


def first_ten(model: nn.Module) -> qnb.Score:
    """Accuracy by the first ten outputs."""
    return _accuracy(lambda x: model(x)[:, :10])


def _accuracy(model: Callable[[Tensor], Tensor], count: int | None = None) -> qnb.Score:
    split = data.load()
    images, labels = split.test[:count], split.test_labels[:count]
    right = (model(images).argmax(1) == labels).float()
    return qnb.Score(float(right.mean()), per_sample=right.tolist())


@plant("few_samples_set_range", 10.0, 20.0, 60.0)
def few_samples_set_range(scale: float) -> Planted:
    """One picture is far too bright."""
    calibration = [x.clone() for x in qnb.demo.digits().calibration[:4]]
    calibration[1][5] *= scale
    return planted(digits(), "w8a8", "x", calibration=calibration)


@plant("beyond_calibration", 0.5, 0.3, 0.15)
def beyond_calibration(scale: float) -> Planted:
    """Calibration pictures are too dark."""
    return planted(digits(), "w8a8", "x", calibration=[x * scale for x in qnb.demo.digits().calibration[:4]])


@plant("few_calibration_samples", 4, 2, 1)
def few_calibration_samples(count: int) -> Planted:
    few = qnb.demo.digits().calibration[0][:count]
    return planted(Pixels(transformer()), "w8a8", "", calibration=[few, few])


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


class Times(nn.Module):
    def __init__(self, factor: float):
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


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


class Gated(nn.Module):
    """A gate that is almost shut, and a factor that makes up for it."""

    def __init__(self, model: nn.Module, shut: float):
        super().__init__()
        self.model, self.gate, self.shut = model, nn.Linear(16, 16), shut
        nn.init.normal_(self.gate.weight, 0.0, 0.1)
        nn.init.zeros_(self.gate.bias)

    def forward(self, x: Tensor) -> Tensor:
        m = self.model
        x = m.pool(m.head(m.blocks(m.stem(x)))).flatten(1)
        gate = torch.sigmoid(self.gate(x) - self.shut)
        return m.classifier(x * gate * (1 + torch.tensor(self.shut).exp()))


@plant("coarse_probabilities", 4.0, 5.0, 6.5)
def coarse_probabilities(shut: float) -> Planted:
    torch.manual_seed(0)
    return planted(Gated(digits(), shut), "w8a8", "sigmoid", target="htp-v75")


class Padded(type(qnb.demo.transformer().model.blocks[0])):
    """A block that shuts four positions out by a number that it computes, where no mask is to be seen."""

    shut = 0.0

    def attend(self, x: Tensor) -> Tensor:
        n, length, width = x.shape
        q, k, v = self.qkv(x).view(n, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        far = (torch.arange(length) >= 12) * (x.mean() * 0 + self.shut)
        scores = (q @ k.transpose(-1, -2)) / 10**0.5 - far
        return self.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(n, length, width))


@plant("wide_scores", 100.0, 300.0, 1000.0)
def wide_scores(shut: float) -> Planted:
    model = transformer()
    block = model.blocks[0]
    block.__class__ = Padded
    block.shut = shut
    return planted(Pixels(model), "w8a8", "model.blocks.0.sub")


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


@plant("tiny_variance", 0.06, 0.03, 0.01)
def tiny_variance(shrink: float) -> Planted:
    """A channel that is constant but for a small rest, which its batch norm blows up again."""
    model = digits()
    with torch.no_grad():
        stem, expand = model.stem, model.blocks[1].expand
        del stem
        before = model.blocks[0].project.bn
        before.weight[3], before.bias[3] = 0.0, 0.0
        model.stem.bn.weight[3], model.stem.bn.bias[3] = 0.0, 3.0  # a constant 3 behind the stem and the sum
        expand.conv.weight[5] *= shrink
        expand.conv.weight[5, 3] += 1.0
        expand.bn.running_mean[5] = expand.bn.running_mean[5] * shrink + 3.0
        expand.bn.running_var[5] *= shrink**2
    return planted(model, "w8a16", "blocks.1.expand.conv")


@plant("bias_overflow", 30.0, 100.0, 300.0)
def bias_overflow(shift: float) -> Planted:
    """All logits are shifted alike: which is the largest does not change."""
    model = digits()
    with torch.no_grad():
        model.classifier.bias += shift
    return planted(model, "w16a16", "classifier", target="htp-v75")


class Unit(nn.Module):
    """Vectors of length one, written out, and their usual length again."""

    def forward(self, x: Tensor) -> Tensor:
        return 6.3 * x / torch.sqrt(x.pow(2).sum(-1, keepdim=True) + 1e-6)


class Scaled(nn.Module):
    """The transformer with a normalization at its end, and every second token quiet before it."""

    def __init__(self, model: nn.Module, quiet: float):
        super().__init__()
        self.model, self.norm = model, Unit()
        self.register_buffer("loud", torch.where(torch.arange(16) % 2 == 0, 1.0, 1 / quiet)[None, :, None])

    def forward(self, x: Tensor) -> Tensor:
        m = self.model
        return m.classifier(self.norm(m(pixels=x).tokens * self.loud).mean(1))


@plant("inside_normalization", 8.0, 12.0, 16.0)
def inside_normalization(quiet: float) -> Planted:
    return planted(Scaled(transformer(), quiet), "w8a8", "norm.pow")


@plant("coarse_output", 8, 6, 5)
def coarse_output(bits: int) -> Planted:
    return planted(digits(), "w16a16", "classifier", layers={"classifier": f"w16a{bits}"})


@plant("noisy_metric", 60, 40, 20)
def noisy_metric(count: int) -> Planted:
    return planted(digits(), "w8a16", "", evaluate=partial(_accuracy, count=count))


class Logits(nn.Module):
    """Probabilities, and their logits again, as iterative box refinement does (inverse sigmoid)."""

    def __init__(self, model: nn.Module, sharp: float):
        super().__init__()
        self.model, self.sharp = model, sharp

    def forward(self, x: Tensor) -> Tensor:
        p = torch.sigmoid(self.model(x) * self.sharp).clamp(1e-5, 1 - 1e-5)
        return torch.log(p / (1 - p))


@plant("steep_function", 0.3, 0.5, 1.0)
def steep_function(sharp: float) -> Planted:
    return planted(Logits(digits(), sharp), "w8a8", "log")


@plant("clipped_by_rule", 98.0, 95.0, 90.0)
def clipped_by_rule(percentile: float) -> Planted:
    return planted(digits(), "w8a8", "", calibration_method="percentile", percentile=percentile)


CLEAR = 0.05
"""A tolerance that the metric can decide: else its noise is what a diagnosis names first."""


@plant("coarse_weights", 5, 4, 3)
def coarse_weights(bits: int) -> Planted:
    return planted(Pixels(transformer()), f"w{bits}a16", "", tolerance=CLEAR)


@plant("coarse_activations", 7, 6, 5)
def coarse_activations(bits: int) -> Planted:
    return planted(Pixels(transformer()), f"w16a{bits}", "", tolerance=CLEAR)


@plant("few_sensitive_layers", 4, 3, 2)
def few_sensitive_layers(bits: int) -> Planted:
    named = ("blocks.1.expand.conv", "blocks.3.project.conv", "head.conv")
    return planted(digits(), "w16a16", "", layers=dict.fromkeys(named, f"w{bits}a16"), tolerance=CLEAR)
