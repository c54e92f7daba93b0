"""Hits, misses and false alarms of the diagnosis: ``python -m tests.bench.diagnosis``.

Planted models, each cause at three strengths, and six trained nets of different kinds at W8A16 that nothing is wrong
with. For each: what was named first, the gain of its remedy, predicted and measured, and the seconds it took.
Of each healthy net also what a diagnosis at W8A8 costs, in a process of its own with one thread: its CPU time over
that of an FP32 pass over the calibration data (medians of three), and the memory at its peak above that before it.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch

import qnb
from tests.nets.trained import NAMES, trained
from tests.workflow.diagnosis.plants import PLANTS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=list(PLANTS), help="causes; none for the healthy nets alone")
    wanted = parser.parse_args().only
    torch.set_num_threads(1)
    hits = [hit(cause, strength) for cause in wanted for strength in PLANTS[cause].strengths]
    alarms = [false_alarm(name) for name in NAMES]
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as apart:
        for line in apart.map(cost, NAMES):
            print(line, flush=True)
    print(f"\n{sum(hits)} of {len(hits)} planted causes named first; {sum(alarms)} false alarms on {len(alarms)} nets")
    return 0


def hit(cause: str, strength: float) -> bool:
    """Whether what was planted is named first, with its layer."""
    planted = PLANTS[cause].make(strength)
    found, seconds = diagnosed(planted.flow, planted.run)
    first = found.findings[0] if len(found) else None
    right = first is not None and first.name == cause and planted.layer in ("", *first.layers[:1])
    print(f"{'hit' if right else 'MISS':5} {cause:24} {strength:>10g} {told(found):70} {seconds:6.1f} s", flush=True)
    return right


def false_alarm(name: str) -> bool:
    """Whether a healthy net gets more than one finding, or one that brings less than 1 dB."""
    net = trained(name)
    flow = qnb.Workflow(net.model, net.calibration, net.evaluate, tolerance=0.05)
    flow.run("w8a16")
    found, seconds = diagnosed(flow, "w8a16")
    wrong = len(found) > 1 or any(not f.measured_gain_db >= 1 for f in found)
    print(f"{'ALARM' if wrong else 'well':5} {name:24} {'w8a16':>10} {told(found):70} {seconds:6.1f} s", flush=True)
    return wrong


def cost(name: str) -> str:
    """What a diagnosis of a net at W8A8 costs, in words; to be called in a new process."""
    torch.set_num_threads(1)
    net = trained(name)
    flow = qnb.Workflow(net.model, net.calibration, net.evaluate, tolerance=0.05)
    sim = flow.run("w8a8", progress=lambda *_: None).sim
    flats = [sim.flatten(batch, "bench") for batch in flow.batches]

    def once() -> None:
        with torch.no_grad():
            for flat in flats:
                sim.reference(*flat)

    before, quiet = reset_peak(), lambda: flow.diagnose("w8a8", progress=lambda *_: None)
    quiet()
    extra = (kilobytes("VmHWM") - before) / 1024
    once()
    taken, single = (statistics.median(cpu_seconds(call) for _ in range(3)) for call in (quiet, once))
    return f"cost  {name:24} {len(sim.groups):3d} layers {taken / single:6.1f} FP32 passes {extra:6.0f} MB more memory"


def cpu_seconds(call: Callable[[], None]) -> float:
    begun = time.process_time()
    call()
    return time.process_time() - begun


def reset_peak() -> int:
    """Begin a new peak of this process's resident memory (Linux only); kilobytes now."""
    Path("/proc/self/clear_refs").write_text("5")
    return kilobytes("VmRSS")


def kilobytes(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def diagnosed(flow: qnb.Workflow, run: str) -> tuple:
    begun = time.perf_counter()
    return flow.diagnose(run), time.perf_counter() - begun


def told(found) -> str:
    said = [f"{f.name} {','.join(f.layers[:1])} {gains(f)}" for f in found]
    return "; ".join(said[:2]) or "nothing stands out"


def gains(finding) -> str:
    if math.isnan(finding.measured_gain_db):
        return ""
    return f"{finding.predicted_gain_db:.1f} -> {finding.measured_gain_db:.1f} dB"


if __name__ == "__main__":
    sys.exit(main())
