"""What the table of ops says of a node."""

import math

import pytest
import torch
from torch import nn

from qnb.graph import capture, ops


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def node(function, name):
    module = function if isinstance(function, nn.Module) else Function(function)
    graph = capture(module.eval(), torch.randn(2, 4, 8, 8)).module.graph
    return next(n for n in graph.nodes if n.op == "call_function" and ops.name(n) == name)


@pytest.mark.parametrize(
    ("function", "name", "ends"),
    [
        (nn.ReLU(), "relu", (0.0, math.inf)),
        (nn.ReLU6(), "hardtanh", (0.0, 6.0)),
        (nn.Hardtanh(), "hardtanh", (-1.0, 1.0)),
        (lambda x: x.clamp(0, 4), "clamp", (0.0, 4.0)),
        (lambda x: x.clamp(max=4.0), "clamp", (-math.inf, 4.0)),
        (lambda x: torch.clamp_min(x, 0), "clamp_min", (0.0, math.inf)),
        (lambda x: x.clamp(x - 1, x + 1), "clamp", None),
        (nn.Sigmoid(), "sigmoid", None),
    ],
    ids=["relu", "relu6", "hardtanh", "clamp", "clamp to", "clamp_min", "clamp by tensors", "sigmoid"],
)
def test_the_ends_of_what_clips(function, name, ends):
    assert ops.clip_ends(node(function, name)) == ends


@pytest.mark.parametrize(
    ("module", "name", "family", "spatial"),
    [
        (nn.Conv2d(4, 4, 3), "conv2d", "convolution", 2),
        (nn.ConvTranspose2d(4, 4, 3), "conv_transpose2d", "transposed convolution", 2),
        (nn.Linear(8, 4), "linear", "linear", 0),
        (Function(lambda x: x @ x), "matmul", "matmul", 0),
        (nn.ReLU(), "relu", "", 0),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_families(module, name, family, spatial):
    op = ops.of(node(module, name))
    assert (op.family, op.spatial) == (family, spatial)


def test_a_family_names_its_ops():
    assert ops.family("transposed convolution") == ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
    assert ops.family("matmul") == ("matmul", "mm", "bmm", "addmm", "baddbmm")
    convolutions = ops.family("convolution") + ops.family("transposed convolution")
    assert {name for name, op in ops.OPS.items() if op.spatial} == set(convolutions)
