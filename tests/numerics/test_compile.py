"""The operator under torch's tracers."""

import os

import pytest
import torch

from qnb.numerics import fake_quantize, fake_quantize_

CASES = {
    "tensor": lambda: (torch.randn(4, 6), torch.tensor(0.1), torch.tensor(5.0), "uint4"),
    "channel": lambda: (torch.randn(4, 6), torch.rand(6) + 0.1, torch.zeros(6), "int8", 1),
    "block": lambda: (torch.randn(4, 6, 3, 3), torch.rand(4, 3, 1, 1) + 0.1, torch.zeros(4, 3, 1, 1), "int4", 1, 2),
    "transposed": lambda: (torch.randn(4, 6).t(), torch.tensor(0.1), torch.tensor(5.0), "uint4"),
    "float": lambda: (torch.randn(4, 6), torch.tensor(0.1), torch.tensor(0.0), "fp8_e4m3"),
}


@pytest.mark.parametrize("case", CASES)
def test_operator_rules_hold(case):
    """Schema, fake implementation, autograd and dynamic shapes, as torch itself checks them."""
    arguments = CASES[case]()
    torch.library.opcheck(torch.ops.qnb.fake_quantize.default, arguments)
    learnable = [a.requires_grad_() if isinstance(a, torch.Tensor) else a for a in CASES[case]()]
    torch.library.opcheck(torch.ops.qnb.fake_quantize.default, learnable)


def check_compiled(backend):
    torch._dynamo.reset()
    zero_point = torch.tensor(5.0)

    def loss(x, scale):
        return fake_quantize(x + 1, scale, zero_point, "uint4").relu().square().sum()

    leaves = torch.randn(8, 16, requires_grad=True), torch.tensor(0.1, requires_grad=True)
    want = torch.autograd.grad(loss(*leaves), leaves)
    got = torch.autograd.grad(torch.compile(loss, fullgraph=True, backend=backend)(*leaves), leaves)
    torch.testing.assert_close(got, want)


def test_compiles_without_a_graph_break():
    check_compiled("aot_eager")


@pytest.mark.skipif("QNB_SLOW" not in os.environ, reason="compiles C++ for 20 s; set QNB_SLOW=1 to run it")
def test_compiles_with_inductor():
    check_compiled("inductor")


def test_in_place_compiles_too():
    torch._dynamo.reset()

    def function(x):
        return fake_quantize_(x * 2, torch.tensor(0.1), torch.tensor(5.0), "uint4")

    x = torch.randn(8)
    assert torch.equal(torch.compile(function, fullgraph=True, backend="aot_eager")(x), function(x))


def test_export_keeps_one_node():
    class Model(torch.nn.Module):
        def forward(self, x):
            return fake_quantize(x, torch.tensor(0.1), torch.tensor(5.0), "uint4")

    shapes = {"x": {0: torch.export.Dim("batch")}}
    program = torch.export.export(Model(), (torch.randn(4, 3),), dynamic_shapes=shapes)
    targets = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert targets.count("qnb.fake_quantize.default") == 1
    x = torch.randn(7, 3)
    assert torch.equal(program.module()(x), Model()(x))
