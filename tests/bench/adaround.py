"""AdaRound against the usual way to do it, on held-out data: ``python tests/bench/adaround.py``.

The usual way: each layer's inputs and targets cached as tensors, 10,000 Adam steps on batches of 32 samples (learning
rate 0.01, regularizer 0.01, beta from 20 to 2, a warm start of 0.2). It is given the very problems that `adaround`
had: the layers before are rounded as that left them. One process, one thread. Errors are squared errors of a layer's
output on other data over its squared FP32 values.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass

import pandas as pd
import torch

import qnb
from qnb.methods.layerwise.frontier import Frontier
from qnb.methods.layerwise.layers import WeightedLayer, integer_layers
from qnb.numerics.layout import align

ZETA, GAMMA = 1.1, -0.1


@dataclass
class Case:
    """A calibrated sim, data to round on, data to measure with, and the layers to round (None means all)."""

    sim: qnb.QuantSim
    batches: list[torch.Tensor]
    held_out: list[torch.Tensor]
    layers: list[str] | None = None


def digits(precision="w4a8") -> Case:
    from qnb.demo import data

    demo = qnb.demo.digits()
    batches = list(demo.calibration)
    return Case(
        qnb.QuantSim(demo.model, batches[0], precision).calibrate(batches), batches, data.batches(data.load().test, 180)
    )


def resnet20(precision="w4a8") -> Case:
    """Three layers, of 16, 32 and 64 channels; weights and images are random."""
    import nets

    torch.manual_seed(0)
    model = nets.warm_up_batch_norm(nets.resnet20(), torch.randn(64, 3, 32, 32))
    data = [torch.randn(32, 3, 32, 32) for _ in range(12)]
    return Case(
        qnb.QuantSim(model, data[0], precision).calibrate(data[:8]),
        data[:8],
        data[8:],
        ["2.body.0.0", "5.body.1.0", "9.body.0.0"],
    )


class Layer:
    """One layer's function of input and weight, its cached inputs and targets."""

    def __init__(self, walk: Frontier, layer: WeightedLayer):
        walk.advance(layer.node)
        self.walk, self.segment = walk, walk.segment(layer.group.output)
        (self.source,) = self.segment.inputs
        self.op, *self.rest = self.segment.nodes
        args = self.op.args
        self.bias = walk.value(args[2], {}, {}, False).detach() if len(args) > 2 and args[2] is not None else None

    def cached(self, start: int, stop: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs and targets of these batches, each as one tensor."""
        inputs = [self.segment.values(i)[self.source] for i in range(start, stop)]
        return torch.cat(inputs), torch.cat([self.segment.target(i) for i in range(start, stop)])

    def __call__(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        y = self.op.target(x, weight, self.bias, *self.op.args[3:])
        for node in self.rest:
            y = node.meta.get("pure", node.target)(y, *node.args[1:])
        return y

    def error(self, weight: torch.Tensor, x: torch.Tensor, target: torch.Tensor) -> float:
        with torch.no_grad():
            return float((self(x, weight) - target).square().sum() / target.square().sum())


def usual(quantizer, weight, layer: Layer, x, target, iterations: int) -> torch.Tensor:
    """The weight, rounded the usual way."""
    encoding = (t.detach() for t in quantizer.encoding())
    weight, scale, zero_point = align(weight.detach(), *encoding, quantizer.axis, quantizer.block_size)
    low, high = quantizer.grid.qmin - zero_point, quantizer.grid.qmax - zero_point
    floor = (weight / scale).floor()
    v = torch.nn.Parameter(-torch.log((ZETA - GAMMA) / (weight / scale - floor - GAMMA) - 1))
    optimizer = torch.optim.Adam([v], 1e-2)
    for i in range(iterations):
        some = torch.randperm(len(x))[:32]
        h = torch.clamp(torch.sigmoid(v) * (ZETA - GAMMA) + GAMMA, 0, 1)
        loss = (layer(x[some], torch.clamp(floor + h, low, high) * scale) - target[some]).square().sum(1).mean()
        if i >= 0.2 * iterations:
            beta = 2 + (20 - 2) / 2 * (1 + math.cos(math.pi * (i / iterations - 0.2) / 0.8))
            loss = loss + 0.01 * (1 - (2 * h - 1).abs() ** beta).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return torch.clamp(floor + (v.detach() >= 0), low, high) * scale


def compare(case: Case, iterations: int = 10_000, ours: int = 500) -> pd.DataFrame:
    """Per layer: held-out error with rounding to nearest, the usual way and `adaround`; the usual way's seconds.

    Args:
        iterations, ours: of the usual way and of `adaround`.

    The table's ``attrs`` hold `adaround`'s seconds for all of it, walks and measurements before and after included.
    """
    torch.manual_seed(0)
    rounded, rows = case.sim.copy(), []
    start = time.perf_counter()
    qnb.methods.adaround(rounded, case.batches, layers=case.layers, iterations=ours)
    taken = time.perf_counter() - start
    count = len(case.batches)
    walk = Frontier(rounded, [*case.batches, *case.held_out])
    for layer in integer_layers(rounded, case.layers):
        function, quantizer = Layer(walk, layer), rounded.weight(layer.weight_key)
        weights = {
            "nearest": quantizer(case.sim.weight_tensor(layer.weight_key)).detach(),
            "ours": rounded.weight_tensor(layer.weight_key),
        }
        start = time.perf_counter()
        x, target = function.cached(0, count)
        weights["usual"] = usual(quantizer, case.sim.weight_tensor(layer.weight_key), function, x, target, iterations)
        seconds = time.perf_counter() - start
        held_out = function.cached(count, function.segment.count)
        errors = {name: function.error(weights[name], *held_out) for name in ("nearest", "usual", "ours")}
        rows.append({"layer": layer.layer, **errors, "usual_s": seconds})
    table = pd.DataFrame(rows)
    table.attrs = {"ours_s": taken}
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=10_000, help="of the usual way")
    parser.add_argument("--case", choices=("digits", "resnet20"), action="append")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in arguments.case or ("digits", "resnet20"):
        table = compare({"digits": digits, "resnet20": resnet20}[name](), arguments.iterations)
        print(f"\n{name}, W4A8, held-out error")
        print(table.to_string(index=False, float_format="{:.5f}".format))
        sums, usual_s, ours_s = table[["nearest", "usual", "ours"]].sum(), table.usual_s.sum(), table.attrs["ours_s"]
        print(
            f"sum: nearest {sums.nearest:.5f}, usual {sums.usual:.5f}, ours {sums.ours:.5f}: "
            f"{'no worse' if sums.ours <= sums.usual else 'WORSE'}; usual {usual_s:.1f} s, "
            f"ours {ours_s:.1f} s, ratio {usual_s / ours_s:.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
