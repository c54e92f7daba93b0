"""The workflow's stages and how far each has come. The order is that of AIMET's quantization workflow."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from qnb.columns import BEST, CONTROL
from qnb.text import LOSSLESS, OVERFLOW, amount, decibel, metric_text, size
from qnb.workflow.verdict import FAIL, PASS, REFERENCE, UNCLEAR

if TYPE_CHECKING:
    from qnb.workflow.check import Check
    from qnb.workflow.deployment.result import Deployment
    from qnb.workflow.run import Run
    from qnb.workflow.workflow import Workflow

TODO = "todo"
MARKS = {PASS: "✓", FAIL: "✗", UNCLEAR: "?", REFERENCE: "=", TODO: "·"}
WORDS = {PASS: "pass", FAIL: "fail", UNCLEAR: "unclear", REFERENCE: "reference", TODO: "to do"}
TITLES = {
    "check": "Check",
    "fp16": "FP16",
    "w16a16": "W16A16",
    "reduce": "Reduce",
    "restore": "Restore",
    "deploy": "Deploy",
}
ASKS = {
    "check": "does the model export, and what is in it?",
    "fp16": "is half precision enough?",
    "w16a16": "the baseline: does the simulation agree with FP32?",
    "reduce": "how few bits keep the metric?",
    "restore": "recover the accuracy: recovery methods, mixed precision, training",
    "deploy": "measure on the target",
}


@dataclass(frozen=True)
class Stage:
    """One step of the ladder; every field is text to show.

    Args:
        stage: check, fp16, w16a16, reduce, restore or deploy.
        status: pass, fail, unclear or todo.
        run: the run that stands for it, the smallest that is within tolerance; empty where there is none.
        text: what was found, or what the stage asks.
    """

    stage: str
    title: str
    status: str = TODO
    mark: str = MARKS[TODO]
    run: str = ""
    metric: str = ""
    drop: str = ""
    size: str = ""
    text: str = ""


def stage_of(run: Run) -> str:
    """Which stage a run belongs to; empty for FP32."""
    if run.name == "fp32":
        return ""
    if any(run.settings.get(what) for what in ("layers", "calibration_methods", "recover")):
        return "restore"
    return run.precision if run.precision in ("fp16", "w16a16") else "fp16" if run.precision == "bf16" else "reduce"


def figures(run: Run) -> dict[str, str]:
    """A run's metric, drop and size as text."""
    drop = amount(run.drop.value) if run.drop else ""
    return {"metric": metric_text(run.score.value), "drop": drop, "size": size(run.size_bytes)}


def row(run: Run) -> dict[str, str]:
    """A run as a program reads it that follows a notebook."""
    status = run.verdict.status
    return {
        "run": run.name,
        "stage": stage_of(run),
        "status": status,
        "mark": MARKS[status],
        **figures(run),
        "text": run.verdict.text,
    }


def stages(flow: Workflow) -> list[Stage]:
    """All six, in order."""
    by_stage: dict[str, list] = {name: [] for name in TITLES}
    for run in flow.runs.values():
        if stage := stage_of(run):
            by_stage[stage].append(run)
    found = [_check(flow)]
    for name in ("fp16", "w16a16", "reduce", "restore"):
        found.append(_stage(name, by_stage[name]))
    return [*found, _deploy(flow)]


def as_rows(found: list[Stage]) -> list[dict[str, str]]:
    return [asdict(stage) for stage in found]


def smallest(runs: Iterable[Run]) -> Run | None:
    """The run to ship, of those within tolerance: the first by `qnb.columns.BEST`, W16A16 last."""
    return min((run for run in runs if run.verdict.status == PASS), key=_rank, default=None)


def _rank(run: Run) -> tuple:
    figures = {
        "size_bytes": run.size_bytes,
        "bops": float(run.cost.bops.sum()),
        "drop": run.drop.value if run.drop else 0.0,
    }
    return run.precision == CONTROL, *(figures[name] for name in BEST)


def best(flow: Workflow) -> Run | None:
    """The run to ship: `smallest` of all; the baseline and the reference are not shipped."""
    found = smallest(flow.runs.values())
    return None if found is None or is_control(found) else found


def is_control(run: Run) -> bool:
    """Whether a run is W16A16 in all its layers."""
    return run.precision == CONTROL and not run.settings.get("layers")


def _check(flow: Workflow) -> Stage:
    check = flow.check_result
    if check is None:
        return Stage("check", TITLES["check"], text=ASKS["check"])
    status = PASS if check.ok else FAIL
    layers = check.facts["layers"].replace(" with", " layers with")
    text = f"{layers}{warnings(check)}" if check.ok else "not ready to be quantized"
    return Stage("check", TITLES["check"], status, MARKS[status], text=text)


def warnings(check: Check) -> str:
    """What a check's title ends with: ``", 2 warnings"``."""
    count = len(check.issues)
    return f", {count} warning{'s' * (count > 1)}" if count else ""


def _stage(name: str, runs: list) -> Stage:
    if not runs:
        return Stage(name, TITLES[name], text=ASKS[name])
    run = smallest(runs) or next((r for r in runs if r.verdict.status == UNCLEAR), runs[-1])
    status = run.verdict.status
    others = f"; {len(runs) - 1} more run{'s' * (len(runs) > 2)}" if len(runs) > 1 else ""
    return Stage(
        name,
        TITLES[name],
        status,
        MARKS[status],
        run.name,
        **figures(run),
        text=f"{run.name}: {run.verdict.text}{others}",
    )


def _deploy(flow: Workflow) -> Stage:
    run, title = best(flow), TITLES["deploy"]
    deployed = flow.deployments.get(run.name) if run else None
    other = next(reversed(flow.deployments.values()), None)
    if deployed is None and other is None:
        text = f"{ASKS['deploy']}: deploy {run.name}, {size(run.size_bytes)}" if run else ASKS["deploy"]
        return Stage("deploy", title, text=text)
    status, text = on_target(deployed or other, flow.tolerance)  # pyright: ignore[reportArgumentType]
    if deployed is None:
        status = FAIL if status == FAIL else UNCLEAR
        text += f"; {run.name} is the smallest within tolerance: deploy it" if run else ""
        deployed = other
    score, drop = deployed.score, deployed.drop
    return Stage(
        "deploy",
        title,
        status,
        MARKS[status],
        deployed.run,
        text=text,
        metric=metric_text(score.value) if score else "",
        drop=amount(drop.value) if drop else "",
        size=size(deployed.file_bytes),
    )


def on_target(deployed: Deployment, tolerance: float) -> tuple[str, str]:
    """(status, what was found): the metric where it ran, and whether the simulation had predicted it. A file that a
    runtime refuses, or computes differently, fails."""
    if deployed.failure:
        return FAIL, f"{deployed.run} not deployed: {deployed.failure}"
    on = deployed.primary_runtime
    if on is None:
        missing = "; ".join(f"{r.title}: {r.status}" for r in deployed.runtimes)
        return UNCLEAR, f"{deployed.run}: files written, not run on any runtime ({missing})"
    metric = "metric not evaluated there" if on.score is None else f"metric {metric_text(on.score.value)}"
    text = f"{deployed.run} on {on.title}: {metric}, simulation agrees {agreement(on.output_sqnr_db)}"
    text += "".join(f"; {r.title}: {r.status}" for r in deployed.runtimes if r.fidelity is None)
    found = [_kept(r.drop, tolerance) for r in deployed.runtimes if r.drop is not None]
    if FAIL in found:
        return FAIL, text
    return PASS if on.drop is not None and UNCLEAR not in found and deployed.simulation_confirmed else UNCLEAR, text


def agreement(db: float) -> str:
    """How well a simulation agrees, by its SQNR against the runtime.

    >>> agreement(35.3), agreement(float("inf")), agreement(float("-inf"))
    ('to 35 dB', '(lossless)', 'not at all (overflow)')
    """
    if math.isfinite(db):
        return f"to {decibel(db, 0)}"
    return f"({LOSSLESS})" if db > 0 else f"not at all ({OVERFLOW})"


def _kept(drop, tolerance: float) -> str:
    """Whether what is lost is within the tolerance; without an interval the value decides."""
    return PASS if drop.value <= tolerance else UNCLEAR if drop.low <= tolerance else FAIL
