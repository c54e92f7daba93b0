"""Graphs that nobody thought of, as files: what runtimes compute of them is what the simulation computes."""

import tempfile
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import nn

from qnb.export import export_onnx
from qnb.measures.layers.error import ErrorStats
from qnb.runtimes import OnnxRuntime
from tests.export.files import calibrated, returned, simulated

LAYERS = {
    "conv": lambda x, n: nn.Conv2d(x.shape[1], 2 + n % 5, 3, 1 + n // 2 % 2, 1, bias=bool(n & 1)),
    "depthwise": lambda x, n: nn.Conv2d(x.shape[1], x.shape[1], 3, padding=1, groups=x.shape[1], bias=bool(n & 1)),
    "linear": lambda x, n: nn.Linear(x.shape[-1], 2 + n % 5, bias=bool(n & 1)),
}
CALLS = {
    "add": lambda x, earlier, n: x + earlier,
    "mul": lambda x, earlier, n: x * earlier,
    "concat": lambda x, earlier, n: torch.cat([earlier, x], 1),
    "relu": lambda x, earlier, n: F.relu(x),
    "relu6": lambda x, earlier, n: F.relu6(x),
    "sigmoid": lambda x, earlier, n: torch.sigmoid(x),
    "softmax": lambda x, earlier, n: torch.softmax(x, 1 if n & 1 else -1),
    "max_pool": lambda x, earlier, n: F.max_pool2d(x, 2),
    "avg_pool": lambda x, earlier, n: F.avg_pool2d(x, 2),
    "mean": lambda x, earlier, n: x.mean((2, 3), keepdim=bool(n & 1)),
    "reshape": lambda x, earlier, n: x.flatten(x.dim() - 2),
    "transpose": lambda x, earlier, n: x.transpose(-1, -2),
}
RANKS = {name: (4,) for name in ("conv", "depthwise", "max_pool", "avg_pool", "mean")} | {
    name: (3, 4) for name in ("reshape", "transpose")
}


class Drawn(nn.Module):
    """Ops in a row, some of which read an earlier value too. Those that do not fit a shape are left out.

    Args:
        steps: ``(op, number)``; the number chooses sizes and the earlier value.
        x: an input, ``[batch, channels, height, width]``.
    """

    def __init__(self, steps, x):
        super().__init__()
        self.steps, self.layers, values = [], nn.ModuleDict(), [x]
        for op, number in steps:
            x = values[-1]
            pooled = op in ("max_pool", "avg_pool") and min(x.shape[-2:]) < 2
            if x.dim() not in RANKS.get(op, (2, 3, 4)) or pooled or (op == "concat" and x.shape[1] > 12):
                continue
            if op in LAYERS:
                self.layers[str(len(self.steps))] = LAYERS[op](x, number)
            skip = 1 if op != "concat" else 2  # a concat joins along axis 1
            fits = [i for i, v in enumerate(values) if v.dim() == x.dim() and v.shape[skip:] == x.shape[skip:]]
            self.steps.append((op, fits[number % len(fits)], number))
            with torch.no_grad():
                values.append(self._step(len(self.steps) - 1, values))

    def _step(self, index, values):
        op, earlier, number = self.steps[index]
        if op in LAYERS:
            return self.layers[str(index)](values[-1])
        return CALLS[op](values[-1], values[earlier], number)

    def forward(self, x):
        values = [x]
        for index in range(len(self.steps)):
            values.append(self._step(index, values))
        return values[-1]


# The first op is a layer, so that weights are in every graph.
STEPS = st.tuples(
    st.tuples(st.sampled_from(("conv", "depthwise")), st.integers(0, 31)),
    st.lists(st.tuples(st.sampled_from((*LAYERS, *CALLS)), st.integers(0, 31)), min_size=4, max_size=8),
).map(lambda drawn: [drawn[0], *drawn[1]])
SHAPES = st.tuples(st.integers(1, 4), st.integers(3, 7), st.integers(3, 7))
PRECISIONS = st.sampled_from(("w8a8", "w8a16", "w4a8", "w16a16"))
KEPT = {"derandomize": True, "deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}


def run(runtime_class, steps, shape, precision, target, samples, **arguments):
    """Export and run what was drawn.

    Returns:
        what the file's and the sim's outputs differ by, in steps of the output's own grid, sorted.
    """
    torch.manual_seed(0)
    x = torch.randn(samples, *shape)
    model = Drawn(steps, x).eval()
    assume(len(model.steps) >= 4)
    sim = calibrated(model, x, precision, target)
    with tempfile.TemporaryDirectory() as folder:
        runtime = runtime_class(export_onnx(sim, Path(folder, "m.onnx"), **arguments), threads=1)
        (wanted,), (got,) = simulated(sim, x).values(), returned(sim, runtime, x).values()
    assert got.shape == wanted.shape
    scale, _ = sim.activation(sim.groups[-1].key).encoding()
    stats = ErrorStats()
    stats.update(wanted, got)
    return ((got - wanted).abs() / scale).flatten().sort().values, stats.sqnr_db


def check(apart, sqnr_db, precision, steps, least_db):
    """At 16 bits, by SQNR; at 8 bits by codes.

    Both sides put the same number on the same grid, up to the last bits of float32. Where that number lies halfway
    between two codes, one side rounds up and the other down: one step, which later layers hand on, weighted, and
    round again. So a few codes of a few elements is what agreement means at 8 bits, however small the signal is;
    SQNR would also judge the draw's signal, which may be three codes wide. A wrong scale, axis, range or rounding
    moves most elements, by more. Of fewer than a hundred elements one may lie outside.
    """
    if precision.endswith("a16"):
        assert sqnr_db >= least_db
    else:
        outside = int((apart > steps + 0.01).sum())
        assert outside <= max(1, len(apart) // 100)


@pytest.mark.slow
@given(STEPS, SHAPES, PRECISIONS)
@settings(max_examples=20, **KEPT)
def test_onnxruntime(steps, shape, precision):
    apart, sqnr_db = run(OnnxRuntime, steps, shape, precision, "onnxruntime-cpu", 3)
    check(apart, sqnr_db, precision, 2, 55)


@pytest.mark.slow
@given(STEPS, SHAPES, PRECISIONS)
@settings(max_examples=8, **KEPT)
def test_htp(htp, steps, shape, precision):
    """HTP rounds its multipliers to 12 bits at 8-bit activations, and adds 16-bit products up in parts."""
    apart, sqnr_db = run(htp, steps, shape, precision, "htp-v75", 1, batch=1)
    check(apart, sqnr_db, precision, 3, 45)
