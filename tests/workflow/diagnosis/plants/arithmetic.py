"""Places where the arithmetic of the model makes rounding count."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import qnb
from tests.workflow.diagnosis.plants.plant import (
    Pixels,
    Planted,
    digits,
    plant,
    planted,
    transformer,
)


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


class Scores(nn.Module):
    """Probabilities by a sigmoid, of logits that reach far below zero where the answer is no."""

    def __init__(self, model: nn.Module, slope: float):
        super().__init__()
        self.model, self.spread = model, nn.LeakyReLU(slope)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.spread(self.model(x)))


@plant("saturated_input", 20.0, 40.0, 100.0)
def saturated_input(slope: float) -> Planted:
    return planted(Scores(digits(), slope), "w8a16", "spread", layers={"spread": "w8a8"}, tolerance=0.05)


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
