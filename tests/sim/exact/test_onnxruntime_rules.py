"""`qnb.sim.exact.onnxruntime` against ONNX Runtime's CPU kernels, on one-op graphs of random integers."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from qnb.sim.exact import onnxruntime as rule
from tests.sim.exact.single_op import Codes, Weight, accumulate, build, run, share_and_step

SHAPE = (1, 16, 12, 12)
TIES = np.array([0.25, 0.5, 0.75, 1, 1.5, 2, 3])
"""Ratios of scales at which many real values lie exactly between two codes, where kernels differ."""


def trials(seed, count, inputs=1, shape=SHAPE):
    """Yield (rng, random inputs, a unit of scale); every other trial's scales are simple multiples of one another."""
    rng = np.random.default_rng(seed)
    for trial in range(count):
        unit = rng.uniform(0.01, 0.05)
        ratio = (lambda: rng.choice(TIES)) if trial % 2 else (lambda: rng.uniform(0.3, 3))
        yield rng, [Codes.random(rng, shape, unit * ratio(), int(rng.integers(0, 256))) for _ in range(inputs)], unit


def output(rng, unit):
    return float(np.float32(unit * rng.choice(TIES))), int(rng.integers(0, 256))


def binary(a, b):
    return a.exact, a.scale, a.zero_point, b.exact, b.scale, b.zero_point


def exactly(ours, theirs):
    assert share_and_step(ours, theirs) == (1.0, 0.0)


@pytest.mark.parametrize("kind", ["conv3x3", "conv1x1", "depthwise", "gemm"])
@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("relu", ["", "Relu"])
def test_conv_and_gemm(kind, bits, relu):
    rng = np.random.default_rng(bits)
    for _ in range(3):
        x, weight, op, attributes = Weight.case(rng, kind, bits)
        acc, s_w = accumulate(x, weight, kind, rule.bias)
        s_y, z_y = float(np.float32((acc * s_w).std() * x.scale * 5 / 255)), 0 if relu else 120
        theirs = run(build(op, [x], s_y, z_y, weight, relu, **attributes), [x])
        ours = rule.requantize(acc, x.scale, s_w, s_y, z_y, 0, 255)
        # Convolutions have no integer kernel for int4: they run in float32, and a sum's order may decide a tie.
        assert share_and_step(ours, theirs)[0] >= (0.999 if bits == 4 and kind != "gemm" else 1.0)


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul"])
@pytest.mark.parametrize("relu", ["", "Relu"])
def test_binary(op, relu):
    for rng, (a, b), unit in trials(3, 8, 2):
        s_y, z_y = output(rng, unit)
        s_y, z_y = float(np.float32(s_y * unit * 60)) if op == "Mul" else s_y, 0 if relu else z_y
        theirs = run(build(op, [a, b], s_y, z_y, None, relu), [a, b])
        exactly(getattr(rule, op.lower())(*binary(a, b), s_y, z_y, 0, 255), theirs)


def test_matmul():
    for rng, (a, b), unit in trials(4, 6, 2, (2, 3, 24, 24)):
        s_y, z_y = output(rng, unit * 5)
        operand, ratio = rule.second_input(b.exact, b.zero_point)
        acc = (a.exact - a.zero_point) @ operand
        theirs = run(build("MatMul", [a, b], s_y, z_y), [a, b])
        exactly(rule.requantize(acc, a.scale, b.scale * ratio, s_y, z_y, 0, 255), theirs)


def test_pools():
    for rng, (x,), unit in trials(5, 8):
        s_y, z_y = output(rng, unit)
        total = x.exact.sum((2, 3), keepdim=True)
        theirs = run(build("GlobalAveragePool", [x], s_y, z_y), [x])
        exactly(rule.mean(total, 144, x.scale, x.zero_point, s_y, z_y, 0, 255), theirs)
        windows = x.exact.unfold(2, 3, 2).unfold(3, 3, 2).flatten(-2)
        theirs = run(build("AveragePool", [x], s_y, z_y, kernel_shape=[3, 3], strides=[2, 2]), [x])
        exactly(rule.average_pool(windows, 9, x.scale, x.zero_point, s_y, z_y, 0, 255), theirs)
        largest = F.max_pool2d(x.exact, 3, 2)
        theirs = run(build("MaxPool", [x], x.scale, x.zero_point, kernel_shape=[3, 3], strides=[2, 2]), [x])
        exactly(largest, theirs)


@pytest.mark.parametrize("levels", [256, 255])
def test_softmax(levels):
    for _, (x,), _ in trials(6, 4):
        s_y = float(np.float32(1 / levels))
        theirs = run(build("Softmax", [x], s_y, 0, axis=-1), [x])
        exactly(rule.softmax(x.exact, x.scale, x.zero_point, s_y, 0, 0, 255), theirs)


UNARY = {
    "Relu": torch.relu,
    "Sigmoid": torch.sigmoid,
    "Tanh": torch.tanh,
    "Gelu": F.gelu,
    "LeakyRelu": lambda real: F.leaky_relu(real, 0.01),
    "HardSwish": lambda real: real * (real * np.float32(1 / 6) + 0.5).clamp(0, 1),
}


@pytest.mark.parametrize("op", UNARY)
def test_unary(op):
    for rng, (x,), unit in trials(7, 6):
        s_y, z_y = output(rng, unit)
        theirs = run(build(op, [x], s_y, z_y), [x])
        exactly(rule.unary(x.exact, UNARY[op], x.scale, x.zero_point, s_y, z_y, 0, 255), theirs)
