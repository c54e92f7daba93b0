"""What the recipe does on each planted model: ``python -m tests.bench.recipe``.

``flow.recover(run, "auto")`` on every plant at its middle strength: verdict, metric and bytes before and after, CPU
seconds on one thread, and each choice with its predicted and measured gain at the outputs and why it was made. What
each method brings by itself is for `recovery` beside this.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections import Counter
from dataclasses import dataclass

import torch

from qnb.text import size
from qnb.workflow.run import Run
from tests.workflow.diagnosis.plants import PLANTS


@dataclass(frozen=True)
class Outcome:
    """A plant's run before and after the recipe."""

    before: Run
    after: Run
    seconds: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=list(PLANTS), help="causes")
    parser.add_argument("--max-seconds", type=float, help="of each recipe")
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    limits = {} if wanted.max_seconds is None else {"max_seconds": wanted.max_seconds}
    outcomes = [recovered(cause, limits) for cause in wanted.only]
    print("\n" + totals(outcomes))
    return 0


def recovered(cause: str, limits: dict) -> Outcome:
    """The recipe's outcome for one plant, told while it goes on."""
    plant = PLANTS[cause]
    planted = plant.make(plant.strengths[1])
    begun = time.process_time()
    after = planted.flow.recover(planted.run, "auto", progress=lambda *_: None, **limits)
    made = Outcome(planted.flow[planted.run], after, time.process_time() - begun)
    before = made.before
    print(
        f"{cause:24} {before.verdict.status:>7} -> {after.verdict.status:7} "
        f"{before.score.value:.4f} -> {after.score.value:.4f}  "
        f"{size(before.size_bytes)} -> {size(after.size_bytes)}  {made.seconds:.1f} s",
        flush=True,
    )
    for row in after.attempts.iloc[1:].itertuples():
        told(row)
    return made


def told(row) -> None:
    """One choice: of the table that the run keeps, `qnb.columns.ATTEMPTS` and ``GUIDED``."""
    if math.isnan(row.metric):
        print(f"    {row.tried}: {row.verdict}", flush=True)
        return
    mark, gains = "+" if row.kept else "-", f"{row.predicted_gain_db:.1f} -> {row.gain_db:.1f} dB"
    print(f"  {mark} {row.tried}: {gains}, {row.verdict}, {row.seconds:.1f} s; {row.why}", flush=True)


def totals(outcomes: list[Outcome]) -> str:
    before, after = (Counter(getattr(o, at).verdict.status for o in outcomes) for at in ("before", "after"))
    larger = sum(o.after.size_bytes > o.before.size_bytes for o in outcomes)
    worse = sum(o.after.drop.value > o.before.drop.value for o in outcomes)
    verdicts = ", ".join(f"{status} {before[status]} -> {after[status]}" for status in sorted({*before, *after}))
    seconds = sum(o.seconds for o in outcomes)
    return f"{len(outcomes)} plants: {verdicts}; {larger} larger, {worse} worse; {seconds:.0f} s of CPU time"


if __name__ == "__main__":
    sys.exit(main())
