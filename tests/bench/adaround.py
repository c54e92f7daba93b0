"""AdaRound against the usual way to do it, on held-out data: ``python tests/bench/adaround.py``.

The usual way: each layer's inputs and targets cached as tensors, 10,000 Adam steps on batches of 32 samples (learning
rate 0.01, regularizer 0.01, beta from 20 to 2, a warm start of 0.2). Both go layer by layer, each on what its own
rounding gives, in one process with one thread. Errors are squared errors of a layer's output on other data, accumulated
up to there, over its squared FP32 values.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass

import pandas as pd
import torch

import qnb
from qnb.graph.attributes import set_tensor
from qnb.methods.frontier import Frontier
from qnb.methods.layers import integer_layers
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
    return Case(qnb.QuantSim(demo.model, batches[0], precision).calibrate(batches), batches,
                data.batches(data.load().test, 180))  # fmt: skip


def resnet20(precision="w4a8") -> Case:
    """Three layers, of 16, 32 and 64 channels; weights and images are random."""
    import nets

    torch.manual_seed(0)
    model = nets.warm_up_batch_norm(nets.resnet20(), torch.randn(64, 3, 32, 32))
    data = [torch.randn(32, 3, 32, 32) for _ in range(12)]
    return Case(qnb.QuantSim(model, data[0], precision).calibrate(data[:8]), data[:8], data[8:],
                ["2.body.0.0", "5.body.1.0", "9.body.0.0"])  # fmt: skip


def usual(sim, batches, layers, iterations: int) -> dict[str, float]:
    """Round the sim's weights the usual way; seconds per layer."""
    walk, taken = Frontier(sim, batches), {}
    for layer in integer_layers(sim, layers):
        start = time.perf_counter()
        walk.advance(layer.node)
        segment = walk.segment(layer.group.output)
        (source,) = segment.inputs
        x = torch.cat([segment.values(i)[source] for i in range(segment.count)])
        target = torch.cat([segment.target(i) for i in range(segment.count)])
        op, *rest = segment.nodes
        bias = walk.value(op.args[2], {}, {}, False).detach() if len(op.args) > 2 and op.args[2] is not None else None

        def run(x, weight, op=op, bias=bias, rest=rest):
            y = op.target(x, weight, bias, *op.args[3:])
            for node in rest:
                y = node.meta.get("pure", node.target)(y, *node.args[1:])
            return y

        weight = _learned(sim.weight(layer.weight_key), sim.weight_tensor(layer.weight_key).detach(), x, target, run,
                          iterations)  # fmt: skip
        set_tensor(sim.graph_module, layer.weight, torch.nn.Parameter(weight))
        taken[layer.layer] = time.perf_counter() - start
    return taken


def _learned(quantizer, weight, x, target, run, iterations: int) -> torch.Tensor:
    weight, scale, zero_point = align(weight, quantizer.scale.detach(), quantizer.zero_point.detach(), quantizer.axis,
                                      quantizer.block_size)  # fmt: skip
    low, high = quantizer.grid.qmin - zero_point, quantizer.grid.qmax - zero_point
    floor = (weight / scale).floor()
    v = torch.nn.Parameter(-torch.log((ZETA - GAMMA) / (weight / scale - floor - GAMMA) - 1))
    optimizer = torch.optim.Adam([v], 1e-2)
    for i in range(iterations):
        some = torch.randperm(len(x))[:32]
        h = torch.clamp(torch.sigmoid(v) * (ZETA - GAMMA) + GAMMA, 0, 1)
        loss = (run(x[some], torch.clamp(floor + h, low, high) * scale) - target[some]).square().sum(1).mean()
        if i >= 0.2 * iterations:
            beta = 2 + (20 - 2) / 2 * (1 + math.cos(math.pi * (i / iterations - 0.2) / 0.8))
            loss = loss + 0.01 * (1 - (2 * h - 1).abs() ** beta).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return torch.clamp(floor + (v.detach() >= 0), low, high) * scale


def errors(sim, held_out) -> dict[str, float]:
    """Squared error over squared FP32 output, by layer."""
    table = qnb.compare_layers(sim, held_out, own=False)
    return dict(zip(table.layer, 10 ** (-table.sqnr_db / 10), strict=True))


def compare(case: Case, iterations: int = 10_000, **options) -> pd.DataFrame:
    """Per layer: held-out error with rounding to nearest, the usual way and `adaround`; the usual way's seconds.

    The table's ``attrs`` hold both ways' seconds in all.
    """
    torch.manual_seed(0)
    baseline, ours = case.sim.copy(), case.sim.copy()
    seconds = usual(baseline, case.batches, case.layers, iterations)
    start = time.perf_counter()
    qnb.methods.adaround(ours, case.batches, layers=case.layers, **options)
    taken = time.perf_counter() - start
    found = {name: errors(sim, case.held_out) for name, sim in (("nearest", case.sim), ("usual", baseline),
                                                                ("ours", ours))}  # fmt: skip
    table = pd.DataFrame({"layer": list(seconds), "usual_s": list(seconds.values())})
    for name, values in found.items():
        table[name] = table.layer.map(values)
    table.attrs = {"usual_s": sum(seconds.values()), "ours_s": taken}
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
        sums, times = table[["nearest", "usual", "ours"]].sum(), table.attrs
        print(f"sum: nearest {sums.nearest:.5f}, usual {sums.usual:.5f}, ours {sums.ours:.5f}: "
              f"{'no worse' if sums.ours <= sums.usual else 'WORSE'}; usual {times['usual_s']:.1f} s, "
              f"ours {times['ours_s']:.1f} s, ratio {times['usual_s'] / times['ours_s']:.1f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
