"""`qnb.sim.exact.htp` against Qualcomm's HTP emulator, on one-op graphs of random integers."""

import importlib
import os

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from qnb.sim.exact import htp as rule
from tests.sim.exact.single_op import Codes, Weight, accumulate, build, run, share_and_step

SHAPE = (1, 16, 12, 12)


@pytest.fixture(autouse=True)
def _emulator():
    """The emulator may be missing on a developer's machine, never where the whole suite must run."""
    if os.environ.get("QNB_CI"):
        importlib.import_module("onnxruntime_qnn")
    else:
        pytest.importorskip("onnxruntime_qnn")


def randoms(seed, count, inputs=1, shape=SHAPE):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        draws = [(rng.uniform(0.01, 0.05), int(rng.integers(90, 166))) for _ in range(inputs)]
        yield rng, [Codes.random(rng, shape, scale, zero_point) for scale, zero_point in draws]


def scale_of(real, share=1.0):
    return float(np.float32(share * float(real.max() - real.min()) / 255))


def binary(a, b):
    return a.exact, a.scale, a.zero_point, b.exact, b.scale, b.zero_point


def equal(ours, theirs, share=1.0):
    equal_share, step = share_and_step(ours, theirs)
    assert equal_share >= share and step <= (share < 1)


@pytest.mark.parametrize("kind", ["conv3x3", "conv1x1", "depthwise", "gemm"])
@pytest.mark.parametrize(("bits", "relu", "biased"), [(8, "", False), (8, "Relu", True), (8, "", True), (4, "", True)])
def test_conv_and_gemm(kind, bits, relu, biased):
    rng = np.random.default_rng(bits)
    for _ in range(2):
        x, weight, op, attributes = Weight.case(rng, kind, bits)
        weight.bias[:] *= biased
        acc, s_w = accumulate(x, weight, kind, rule.bias)
        s_y, z_y = float(np.float32((acc * s_w).std() * x.scale * 5 / 255)), 0 if relu else 120
        theirs = run(build(op, [x], s_y, z_y, weight, relu, **attributes), [x], htp=True)
        equal(rule.requantize(acc, x.scale, s_w, s_y, z_y, 0, 255), theirs)


@pytest.mark.parametrize(("op", "relu"), [("Add", ""), ("Add", "Relu"), ("Sub", ""), ("Mul", ""), ("Mul", "Relu")])
def test_binary(op, relu):
    """Any zero points: at 128 offsets are halves, at 0 and 255 they are largest."""
    operate = {"Add": torch.add, "Sub": torch.sub, "Mul": torch.mul}[op]
    for rng, (a, b) in randoms(3, 8, 2):
        a.zero_point, b.zero_point = (int(z) for z in rng.choice([0, 128, 255, a.zero_point, b.zero_point], 2))
        s_y, z_y = scale_of(operate(a.real, b.real), rng.uniform(0.4, 1.1)), 0 if relu else int(rng.integers(0, 256))
        theirs = run(build(op, [a, b], s_y, z_y, None, relu), [a, b], htp=True)
        equal(getattr(rule, op.lower())(*binary(a, b), s_y, z_y, 0, 255), theirs)


@pytest.mark.parametrize("z_a", [0, 128])
def test_mul_of_every_pair_of_codes(z_a):
    rng = np.random.default_rng(z_a)
    first, second = np.meshgrid(*2 * [np.arange(256, dtype=np.uint8)], indexing="ij")
    for z_b, z_y in ((0, 0), (100, 255), (128, 20)):
        a = Codes(first.reshape(1, 16, 64, 64).copy(), float(np.float32(rng.uniform(0.01, 0.05))), z_a)
        b = Codes(second.reshape(1, 16, 64, 64).copy(), float(np.float32(rng.uniform(0.01, 0.05))), z_b)
        s_y = scale_of(a.real * b.real, rng.uniform(0.4, 1.1))
        theirs = run(build("Mul", [a, b], s_y, z_y), [a, b], htp=True)
        equal(rule.mul(*binary(a, b), s_y, z_y, 0, 255), theirs)


@pytest.mark.parametrize("z_b", [128, 90, 180])
def test_matmul(z_b):
    for rng, (a, b) in randoms(4, 3, 2, (2, 3, 24, 24)):
        b.zero_point = z_b  # at 128 every code - zero_point fits int8
        operand, ratio = rule.second_input(b.exact, z_b)
        acc = (a.exact - a.zero_point) @ operand
        s_y, z_y = scale_of(acc * a.scale * b.scale), int(rng.integers(90, 166))
        theirs = run(build("MatMul", [a, b], s_y, z_y), [a, b], htp=True)
        ours = rule.requantize(acc, a.scale, b.scale * ratio, s_y, z_y, 0, 255)
        equal(ours, theirs, 1.0 if z_b == 128 else 0.998)


def test_means():
    for rng, (x,) in randoms(5, 4, shape=(1, 64, 8, 8)):
        s_y, z_y = x.scale * float(rng.uniform(0.2, 0.9)), int(rng.integers(90, 166))
        s_y = float(np.float32(s_y))
        ours = rule.mean(x.exact.sum((2, 3), keepdim=True), 64, x.scale, x.zero_point, s_y, z_y, 0, 255)
        equal(ours, run(build("GlobalAveragePool", [x], s_y, z_y), [x], htp=True))
        axes = (np.array([2, 3]),)
        equal(ours, run(build("ReduceMean", [x], s_y, z_y, constants=axes, keepdims=1), [x], htp=True))


@pytest.mark.parametrize(("kernel", "stride"), [((2, 2), (2, 2)), ((3, 3), (1, 1)), ((5, 5), (1, 1)), ((2, 3), (2, 3))])
@pytest.mark.parametrize("ratio", [0.3, 0.45, 0.7, 1.2])
def test_average_pool(kernel, stride, ratio):
    for rng, (x,) in randoms(6, 2):
        s_y, z_y = float(np.float32(x.scale * ratio * rng.uniform(0.97, 1.03))), int(rng.integers(0, 256))
        windows = x.exact.unfold(2, kernel[0], stride[0]).unfold(3, kernel[1], stride[1]).flatten(-2)
        theirs = run(build("AveragePool", [x], s_y, z_y, kernel_shape=kernel, strides=stride), [x], htp=True)
        count = kernel[0] * kernel[1]
        equal(rule.average_pool(windows, count, x.scale, x.zero_point, s_y, z_y, 0, 255, kernel, stride), theirs)


def test_values_that_only_move_stay():
    _, (x,) = next(randoms(6, 1))
    theirs = run(build("MaxPool", [x], x.scale, x.zero_point, kernel_shape=[3, 3], strides=[2, 2]), [x], htp=True)
    equal(F.max_pool2d(x.exact, 3, 2), theirs)


@pytest.mark.parametrize("levels", [256, 255])
def test_softmax(levels):
    for _, (x,) in randoms(7, 2):
        s_y = float(np.float32(1 / levels))
        theirs = run(build("Softmax", [x], s_y, 0, axis=-1), [x], htp=True)
        equal(rule.softmax(x.exact, x.scale, x.zero_point, s_y, 0, 0, 255), theirs, 0.985)


UNARY = {"Sigmoid": torch.sigmoid, "Tanh": torch.tanh, "Gelu": F.gelu, "HardSwish": F.hardswish}


@pytest.mark.parametrize("op", UNARY)
def test_unary(op):
    for _, (x,) in randoms(8, 3):
        real = UNARY[op](x.real)
        s_y, z_y = {"Sigmoid": (1 / 256, 0), "Tanh": (1 / 128, 128)}.get(op, (scale_of(real), 10))
        theirs = run(build(op, [x], s_y, z_y), [x], htp=True)
        equal(rule.unary(x.exact, UNARY[op], x.scale, x.zero_point, s_y, z_y, 0, 255), theirs)
