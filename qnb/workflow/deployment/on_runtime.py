"""A deployed file on one runtime: where its nodes run, how well it was predicted, its metric, its latency."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from qnb.errors import DependencyError, QnbError, TargetError
from qnb.measures import Score
from qnb.measures.metrics.evaluation import score_of
from qnb.progress import Report
from qnb.runtimes import RUNTIMES, Runtime, RuntimeModel, differences, fidelity, wiring
from qnb.sim import limits
from qnb.workflow.deployment.order import Order, samples
from qnb.workflow.deployment.performance import sim_of
from qnb.workflow.deployment.result import COMPLETED, DISAGREES, MISSING, REFUSED, RuntimeResult
from qnb.workflow.verdict import judge

if TYPE_CHECKING:
    import pandas as pd

    from qnb.workflow.workflow import Workflow

PATIENCE_SECONDS = 120
"""An emulated evaluation that would take longer is left out, unless asked for."""


def run(flow: Workflow, wanted: Order, name: str, stage: Path, files: dict[str, Path], report: Report) -> RuntimeResult:
    """Everything about one runtime; what it cannot do is part of the result, not an error."""
    of = RUNTIMES[name]
    title = of.title_for(wanted.soc)
    report(0, None, f"starting {title}")
    try:
        runtime = of.open(files[of.file], wanted.soc, wanted.threads)
        placement = runtime.placement()
    except DependencyError as error:
        return RuntimeResult(name, title, MISSING, f"{error.received}: {error.remedy}")
    except TargetError as error:
        return RuntimeResult(name, title, REFUSED, f"{error.received}. {error.remedy}", known=_known(flow, wanted, of))
    if of.compiles:
        _compile(wanted, runtime, stage, files, report)
    away = placement[placement.provider != of.home]
    table, exact = _fidelity(flow, wanted, runtime, report)
    score, note = _score(flow, wanted, runtime, report)
    drop = None if score is None else judge(flow["fp32"].score, score, flow.tolerance)[0]
    latency, why = _latency(flow, wanted, runtime, report)
    differ = _differences(flow, wanted, table)
    return RuntimeResult(
        name,
        title,
        COMPLETED if all(d.why for d in differ) else DISAGREES,
        " ".join(filter(None, (note, why))),
        fidelity=table,
        exact=exact,
        score=score,
        drop=drop,
        differences=differ,
        known=_known(flow, wanted, of),
        placement=placement.provider.value_counts().to_dict(),
        fallback_nodes=tuple(away.node),
        latency=latency,
    )


def _known(flow: Workflow, wanted: Order, of: type[Runtime]) -> tuple[str, ...]:
    """What the target is known not to run of the run's model, or to compute differently."""
    sim = sim_of(flow, wanted.run)
    refused = (found for found in limits.holding(sim) if found[2].refused) if of.device else ()
    return tuple(said for _, said in limits.sentences(refused, sim.target))


def _compile(wanted: Order, runtime: Runtime, stage: Path, files: dict[str, Path], report: Report) -> None:
    report(0, None, f"compiling for {wanted.soc.soc}")
    files["context"] = runtime.compile(stage / f"{wanted.stem}-{wanted.soc.soc}-context.onnx")  # pyright: ignore[reportAttributeAccessIssue]
    files["binary"] = next(p for p in stage.iterdir() if p.suffix == ".bin")


def _fidelity(flow: Workflow, wanted: Order, runtime: Runtime, report: Report):
    """(plain, exact) tables; no exact one where the runtime does not compute in integers from end to end."""
    sim, batches = sim_of(flow, wanted.run), samples(flow, wanted.samples)
    tick = lambda done, total, message: report(done, total, message)  # noqa: E731
    table = fidelity(sim, runtime, batches, progress=tick)
    if not runtime.exact or not (wanted.integer_io or runtime.exact_float_io):
        return table, None
    try:
        exact = sim.exact(runtime.exact)
    except QnbError:
        return table, None
    return table, fidelity(exact, runtime, batches, progress=tick)


def _differences(flow: Workflow, wanted: Order, table: pd.DataFrame) -> tuple[differences.Difference, ...]:
    """What of the plain simulation's table is further away than expected."""
    known = wanted.run.comparison
    known = [] if known is None else zip(known.layer, known.sqnr_db, strict=True)
    own_db = {layer: db for layer, db in known if db == db}
    return differences.find(table, wiring.of(sim_of(flow, wanted.run)), own_db)


def _score(flow: Workflow, wanted: Order, runtime: Runtime, report: Report) -> tuple[Score | None, str]:
    """The user's metric on the runtime, and why there is none."""
    if wanted.evaluate is False:
        return None, ""
    if wanted.evaluate is None and runtime.emulated():
        expected = _seconds(flow, wanted, runtime) * _samples_evaluated(flow)
        if expected > PATIENCE_SECONDS:
            return None, f"Metric left out: about {expected / 60:.0f} minutes in the emulator; pass evaluate=True."
    model = RuntimeModel(flow.captured, runtime)
    message = f"evaluating on {runtime.title}"
    total = flow.evaluation_forwards
    tick = lambda calls: report(calls - 1, total if total and calls <= total else None, message)  # noqa: E731
    return score_of(flow.evaluate, model, f"{wanted.run.name} on {runtime.title}", tick, flow.seed), ""


def _seconds(flow: Workflow, wanted: Order, runtime: Runtime) -> float:
    """What one sample takes once the file is compiled."""
    sample, taken = samples(flow, 1)[0], []
    inputs = sim_of(flow, wanted.run).flatten(sample, f"flow.deploy({wanted.run.name!r})")
    for _ in range(2):
        start = time.perf_counter()
        runtime.run(*inputs)
        taken.append(time.perf_counter() - start)
    return min(taken)


def _samples_evaluated(flow: Workflow) -> int:
    score = flow["fp32"].score
    return score.n or 32 * (flow.evaluation_forwards or 1)


def _latency(flow: Workflow, wanted: Order, runtime: Runtime, report: Report):
    if why := runtime.untimed(sim_of(flow, wanted.run)):
        return None, f"No latency: {why}."
    report(0, None, f"timing on {runtime.title}")
    return runtime.latency(), ""
