"""Rows times columns are what the op itself computes."""

import pytest
import torch
from torch import nn

import qnb
from qnb.graph.attributes import attribute
from qnb.methods.layerwise.frontier import Frontier
from qnb.methods.layerwise.layers import weighted_layers
from qnb.methods.layerwise.unfold import by_element, products
from qnb.numerics import Grid, Precision
from tests.models import transformers_zoo, zoo


class Products(nn.Module):
    """Products with a constant on either side, one with a vector, and one as batched matrices."""

    def __init__(self):
        super().__init__()
        self.correct_count, self.left = nn.Parameter(torch.randn(6, 5)), nn.Parameter(torch.randn(4, 7))
        self.bias, self.vector = nn.Parameter(torch.randn(5)), nn.Parameter(torch.randn(5))

    def forward(self, x):  # [N, 7, 6]
        y = torch.addmm(self.bias, (self.left @ x).mean(1), self.correct_count)
        z = torch.bmm(x, self.correct_count.expand(x.shape[0], -1, -1))
        return y + z.mean(1) + (x @ self.correct_count @ self.vector).mean(1, keepdim=True)


IMAGES = {
    "plain": (nn.Conv2d(4, 6, 3), torch.randn(3, 4, 9, 8)),
    "strided and dilated": (nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 2), (1, 2)), torch.randn(3, 4, 9, 8)),
    "grouped": (nn.Conv2d(4, 6, 3, padding=1, groups=2), torch.randn(3, 4, 9, 8)),
    "depthwise": (nn.Conv2d(4, 8, 3, 2, 1, groups=4), torch.randn(3, 4, 9, 8)),
    "padded to the same size": (nn.Conv2d(4, 6, (4, 3), padding="same"), torch.randn(3, 4, 9, 8)),
    "valid": (nn.Conv1d(4, 6, 3, padding="valid"), torch.randn(3, 4, 9)),
    "one axis": (nn.Conv1d(4, 6, 3, 2, 1), torch.randn(3, 4, 9)),
    "three axes": (nn.Conv3d(2, 4, (1, 2, 3), padding=(0, 1, 1)), torch.randn(2, 2, 4, 5, 6)),
    "transposed": (nn.ConvTranspose2d(4, 6, 3, 2, 1, 1), torch.randn(3, 4, 5, 4)),
    "transposed, dilated": (nn.ConvTranspose2d(4, 6, (3, 2), (1, 3), (3, 0), dilation=(2, 1)), torch.randn(3, 4, 5, 4)),
    "transposed, grouped": (nn.ConvTranspose2d(4, 6, 3, 2, groups=2), torch.randn(3, 4, 5, 4)),
    "transposed, one axis": (nn.ConvTranspose1d(4, 6, 4, 2, 1), torch.randn(3, 4, 5)),
    "products": (Products(), torch.randn(3, 7, 6)),
}


def check(model, example):
    """For every layer of the float model; which there are."""
    sim = qnb.QuantSim(model.eval(), example, "w8a8").calibrate([example])
    found, notes = products(sim, weighted_layers(sim))
    walk = Frontier(sim, [example])
    for product in found:
        walk.advance(product.node.name)
        expected = walk.segment(product.node.name).target(0).movedim(product.output_axis, 0).flatten(1)
        rows = product.rows(attribute(sim.reference, product.layer.weight))
        x = torch.cat(list(product.columns(product.inputs(walk, 0, reference=True))), dim=2)
        got = (rows @ x).flatten(0, 1)
        if product.layer.bias:
            got = got + attribute(sim.reference, product.layer.bias)[:, None]
        torch.testing.assert_close(got.detach(), expected, rtol=1e-4, atol=1e-4)
        again = product.weight(rows, attribute(sim.reference, product.layer.weight))
        assert torch.equal(again, attribute(sim.reference, product.layer.weight))
    return found, notes


@pytest.mark.parametrize("elements", [2**22, 100])
@pytest.mark.parametrize("name", IMAGES)
def test_rows_times_columns_are_the_output(name, elements, monkeypatch):
    monkeypatch.setattr("qnb.methods.layerwise.unfold.ELEMENTS", elements)
    found, notes = check(*IMAGES[name])
    assert len(found) == (4 if name == "products" else 1)
    assert len(notes) == (name == "products")  # the vector


MODELS = {**zoo(), **transformers_zoo()}


@pytest.mark.parametrize("name", MODELS)
def test_every_layer_of_every_model_is_a_product(name):
    found, notes = check(*MODELS[name])
    assert found and not notes


@pytest.mark.parametrize("grid", [Grid(4, True), Grid(4, True, "channel"), Grid(4, False, "block", 2)])
@pytest.mark.parametrize("name", ["grouped", "transposed", "products"])
def test_each_weight_has_its_scale(grid, name):
    model, example = IMAGES[name]
    sim = qnb.QuantSim(model.eval(), example, Precision(weights=grid)).calibrate([example])
    for layer in weighted_layers(sim):
        quantizer, weight = sim.weight(layer.weight_key), sim.weight_tensor(layer.weight_key).detach()
        scale, zero_point = (by_element(v.detach(), weight, quantizer) for v in quantizer.encoding())
        low, high = quantizer.grid.qmin - zero_point, quantizer.grid.qmax - zero_point
        codes = (weight / scale).round()
        assert torch.equal(torch.minimum(torch.maximum(codes, low), high) * scale, quantizer(weight))
