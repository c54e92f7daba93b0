"""What each recovery method brings back: ``python tests/bench/recovery.py``.

The digits CNN at three precisions: metric with its interval, SQNR at the output on held-out images, and seconds on
one thread, for the plain simulation, each method alone, the recipe "auto", and training.
"""

from __future__ import annotations

import argparse
import sys
import time

import torch

import qnb
from qnb.demo import data
from qnb.errors import QnbError
from qnb.measures.layers.outputs import output_db
from qnb.methods import METHODS
from qnb.numerics import Grid, Precision

PRECISIONS = {
    "W4A8 per-tensor weights": Precision(Grid(4, symmetric=True), Grid(8)),
    "W4A8 per-channel weights": Precision.parse("w4a8"),
    "W3A8": Precision.parse("w3a8"),
    "W4A4": Precision.parse("w4a4"),
}
CHAINS = {
    "adaround, blocks": ("adaround", {"blocks": True}),
    "mixed_precision": ("mixed_precision", {"candidates": ["w8a8", "w4a8"], "budget": 0.7}),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=list(PRECISIONS), help="of " + ", ".join(PRECISIONS))
    wanted = parser.parse_args().only
    torch.set_num_threads(1)
    demo, split = qnb.demo.digits(), data.load()
    held_out = data.batches(split.test, 180)
    for title in wanted:
        flow = qnb.Workflow(demo.model, demo.calibration, demo.evaluate)
        start = time.perf_counter()
        base = flow.run(PRECISIONS[title], name="base")
        print(f"\n{title}: FP32 {flow['fp32'].score}")
        say("plain", base, base.sim, held_out, time.perf_counter() - start)
        for name in [*METHODS, "adaround, blocks", "auto"]:
            one(flow, name, held_out, data.batches(split.train, 32))
    return 0


def one(flow, name: str, held_out, training) -> None:
    method, options = CHAINS.get(name, (name, {}))
    if method == "train":
        options = {"loader": training}
    start = time.perf_counter()
    try:
        run = flow.recover("base", method, name=name, **options)
    except QnbError as error:
        print(f"  {name:<26} {error.received}", flush=True)
        return
    say(name, run, run.sim, held_out, time.perf_counter() - start)


def say(name: str, run, sim, held_out, seconds: float) -> None:
    low, high = run.score.interval()
    table = qnb.compare_layers(sim, held_out, own=False)
    chain = " + ".join(r.method for r in run.recovery) if name == "auto" else ""
    print(
        f"  {name:<26} {run.score}  [{low:.3f}, {high:.3f}]  {run.verdict.status:<10} {output_db(sim, table):6.1f} dB",
        f" {seconds:6.1f} s  {run.size_bytes:6d} bytes  {chain}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
