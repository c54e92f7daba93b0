"""Hits, misses and false alarms of the diagnosis: ``python -m tests.bench.diagnosis``.

Planted models, each cause at three strengths, and six trained nets of different kinds at W8A16 that nothing is wrong
with. For each: what was named first, the gain of its remedy, predicted and measured, and the seconds it took.
"""

from __future__ import annotations

import argparse
import math
import sys
import time

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
