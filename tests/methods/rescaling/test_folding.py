"""Scales move only where the FP32 function stays the same, and everywhere where it can."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import qnb
from qnb.graph.attributes import attribute, set_tensor
from qnb.methods.layerwise.layers import weighted_layers
from qnb.methods.rescaling.folding import find_folds
from tests.models import transformers_zoo, warmed_up, zoo


def folds(model, example, target="htp-v75"):
    sim = qnb.QuantSim(model, example, "w8a8", target=target).calibrate([example])
    return sim, find_folds(sim, {layer.layer for layer in weighted_layers(sim)})[0]


def pairs(model, example):
    """Maker -> (its readers, how many channels are free)."""
    return {
        f.maker.layer: (tuple(r.product.layer.layer for r in f.readings), int(f.free.sum()))
        for f in folds(model, example)[1]
    }


@torch.no_grad()
def change(sim, example, found):
    """Of the FP32 outputs, relative, with random scales at all folds at once."""
    module, flat = sim.graph_module, sim.flatten(example, "test")
    sim.own_tensors()
    sim.disable()
    random = torch.Generator().manual_seed(0)
    for fold in found:
        if fold.maker.bias:  # many models' are zero before training
            attribute(module, fold.maker.bias).data.normal_(generator=random)
    before = sim.run_flat(flat)
    for fold in found:
        scale = torch.where(fold.free, torch.exp2(4 * torch.rand(len(fold.free), generator=random) - 2), 1.0)
        for name, value in fold.folded({n: attribute(module, n) for n in fold.names}, scale).items():
            assert not torch.equal(attribute(module, name), value)
            set_tensor(module, name, nn.Parameter(value))
    after = sim.run_flat(flat)
    return max(float((a - b).abs().max() / b.abs().max().clamp(min=1e-9)) for a, b in zip(after, before, strict=True))


MODELS = {**zoo(), **transformers_zoo()}
COUNT = {
    "resnet20": 6,
    "mobilenet_v2": 1,
    "lstm": 0,
    "gru": 0,
    "unet": 1,
    "functional": 0,
    "attention": 1,
    "reused": 0,
    "bert": 2,
    "gpt2": 6,
    "llama": 9,
    "vit": 7,
    "whisper": 6,
}


@pytest.mark.parametrize("target", ["htp-v75", "generic"])
@pytest.mark.parametrize("name", MODELS)
def test_the_fp32_function_of_every_model_stays_the_same(name, target):
    model, example = MODELS[name]
    sim, found = folds(model, example, target)
    assert len(found) == COUNT[name]
    assert change(sim, example, found) < 1e-5


def test_one_scale_serves_query_key_and_value_and_heads_of_attention_are_followed():
    model, example = MODELS["llama"]
    found = pairs(model, example)
    layer = "model.layers.0."
    assert found[f"{layer}input_layernorm"] == (tuple(f"{layer}self_attn.{p}_proj" for p in "qkv"), 32)
    assert found[f"{layer}self_attn.v_proj"] == ((f"{layer}self_attn.o_proj",), 16)  # two heads read each of v's
    assert found[f"{layer}mlp.up_proj"] == ((f"{layer}mlp.down_proj",), 64)


def test_of_a_fused_projection_only_the_values_are_free():
    model, example = MODELS["attention"]
    assert pairs(model, example) == {"qkv": (("out",), 24)}
    (fold,) = folds(model, example)[1]
    assert fold.free.nonzero().flatten().tolist() == [*range(48, 72)]


class Between(nn.Module):
    """Two layers with something between them."""

    def __init__(self, between, first=None, second=None):
        super().__init__()
        self.first, self.second = first or nn.Linear(6, 8), second or nn.Linear(8, 4)
        self.between = between

    def forward(self, x):
        return self.second(self.between(self.first(x)))


FIRST, SECOND, MAP = nn.Conv2d(6, 8, 3, padding=1), nn.Conv2d(8, 4, 3, padding=1), (5, 6, 6, 6)
FLOWS = {
    "nothing": (Between(lambda x: x), (5, 6)),
    "ReLU": (Between(F.relu), (5, 6)),
    "PReLU": (Between(nn.PReLU(8), FIRST, SECOND), MAP),
    "a reshaped map": (Between(lambda x: F.max_pool2d(x, 2).flatten(1), FIRST, nn.Linear(72, 4)), MAP),
    "average pooling": (Between(lambda x: F.avg_pool2d(x, 3, 1, 1).mean((2, 3)), FIRST, nn.Linear(8, 4)), MAP),
    "shuffled channels": (Between(lambda x: F.channel_shuffle(x, 2), FIRST, SECOND), MAP),
    "pixels for channels": (Between(lambda x: F.pixel_unshuffle(x, 2), nn.Conv2d(6, 2, 1), SECOND), MAP),
    "depthwise": (Between(F.relu, FIRST, nn.Conv2d(8, 16, 3, groups=8)), MAP),
    "transposed": (Between(F.relu, nn.ConvTranspose2d(6, 8, 2, groups=2), nn.ConvTranspose2d(8, 4, 2, groups=4)), MAP),
}
STOPS = {
    "GELU": (Between(F.gelu), (5, 6)),
    "ReLU6": (Between(F.relu6), (5, 6)),
    "a sum": (Between(lambda x: x + 1.0), (5, 6)),
    "a square": (Between(lambda x: x * x), (5, 6)),
    "softmax": (Between(lambda x: x.softmax(-1)), (5, 6)),
    "pixels of several channels as one": (Between(lambda x: F.pixel_shuffle(x, 2), FIRST, nn.Conv2d(2, 4, 3)), MAP),
    "a mean over channels": (Between(lambda x: x.mean(1, keepdim=True), FIRST, nn.Conv2d(1, 4, 3)), MAP),
}


@pytest.mark.parametrize("name", FLOWS)
def test_scales_pass(name):
    model, shape = FLOWS[name]
    x = torch.randn(shape)
    sim, found = folds(model.eval(), x)
    assert [f.maker.layer for f in found] == ["first"] and found[0].free.all()
    assert change(sim, x, found) < 1e-5


@pytest.mark.parametrize("name", STOPS)
def test_scales_do_not_pass(name):
    model, shape = STOPS[name]
    assert folds(model.eval(), torch.randn(shape))[1] == []


class Branches(nn.Module):
    """A norm whose output a layer, a sum and the model's caller read in part."""

    def __init__(self):
        super().__init__()
        self.norm, self.fc, self.out = nn.LayerNorm(8), nn.Linear(8, 8), nn.Linear(8, 4)
        self.up, self.gate, self.down = nn.Linear(8, 6), nn.Linear(8, 6), nn.Linear(6, 8)

    def forward(self, x):
        y = self.norm(x)
        a, b = y.split(4, dim=-1)
        z = self.down(self.up(x) * torch.sigmoid(self.gate(x)))
        return self.out(y) + a.abs().sqrt(), self.fc(z)


def test_channels_that_something_else_reads_keep_their_scale():
    sim, found = folds(Branches().eval(), torch.randn(5, 8))
    by_maker = {f.maker.layer: f for f in found}
    assert by_maker["norm"].free.tolist() == [False] * 4 + [True] * 4
    assert set(by_maker) == {"norm", "up", "down"} and by_maker["up"].free.all()
    assert change(sim, torch.randn(5, 8), found) < 1e-5


def test_what_a_batch_norm_was_is_scaled_along():
    model = warmed_up(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 3)), torch.randn(8, 3, 9, 9)
    )
    _, (fold,) = folds(model, torch.randn(8, 3, 9, 9))
    scale = torch.tensor([1.0, 2.0, 4.0, 0.5])
    (statistics,) = fold.statistics(scale).values()
    torch.testing.assert_close(statistics["gamma"], (model[1].weight / scale).double())
    torch.testing.assert_close(statistics["beta"], (model[1].bias / scale).double())
