"""Encodings equal AIMET's on known tensors, to 1e-6."""

import pytest
import torch

from qnb.numerics import Grid, affine_parameters
from qnb.numerics.lpbq import lpbq
from qnb.ranges import RULES, tensor_range
from tests.reference_values import ACTIVATION, LPBQ_INTEGERS, WEIGHT_SCALES, activation, tensor, weight


def test_the_known_tensor_is_the_known_tensor():
    wanted = [-0.048126220703125, 0.412384033203125, -0.443145751953125, 0.147705078125]
    assert tensor((4,), 1).tolist() == wanted


@pytest.mark.parametrize(
    "method, options, bits, symmetric, scale, offset",
    ACTIVATION,
    ids=[f"{m} {'sym' if s else 'asym'}{b}" for m, _, b, s, *_ in ACTIVATION],
)
class TestActivations:
    def test_streamed(self, method, options, bits, symmetric, scale, offset):
        rule = RULES[method]
        statistics = rule.statistics(None, None)
        statistics.update(activation())
        found = affine_parameters(*rule(statistics, Grid(bits, symmetric), **options), Grid(bits, symmetric))
        # A streamed histogram's bins need not end at min and max: the percentile is as exact as its bins.
        tolerance = 5e-3 if method == "percentile" else 1e-6
        assert found[0].item() == pytest.approx(scale, rel=tolerance)
        if method != "percentile":
            assert found[1].item() == -offset

    def test_at_hand(self, method, options, bits, symmetric, scale, offset):
        grid = Grid(bits, symmetric)
        found = affine_parameters(*tensor_range(activation(), grid, method, **options), grid)
        assert found[0].item() == pytest.approx(scale, rel=1e-6) and found[1].item() == -offset


def test_weights_per_channel():
    grid = Grid(8, True, "channel")
    scale, zero_point = affine_parameters(*tensor_range(weight(), grid, axis=0), grid)
    assert scale.tolist() == pytest.approx(WEIGHT_SCALES, rel=1e-6) and not zero_point.any()


def test_lpbq():
    grid = Grid(4, True, "block", 4)
    scale, _ = affine_parameters(*tensor_range(weight(), grid, axis=1, block_size=4), grid)
    assert lpbq(scale, 4, 8).integers.flatten().tolist() == LPBQ_INTEGERS


def test_quantsim_gives_the_same_encodings():
    import qnb

    x = activation()
    sim = qnb.QuantSim(torch.nn.ReLU().eval(), x, "w8a8", target="generic").calibrate([x])
    row = sim.encodings().query("kind == 'input'").iloc[0]
    assert row.scale == pytest.approx(0.0362488999966, rel=1e-6) and row.zero_point == 55
