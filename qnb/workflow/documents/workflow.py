"""The workflow's results as documents: object -> `Document`, pure functions."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from qnb import __version__
from qnb.document import Code, Document, Facts, Ladder, Table, Text
from qnb.text import count, decibel, metric_text, percent, size
from qnb.workflow.deployment import performance
from qnb.workflow.documents import deployment as deploy_documents
from qnb.workflow.documents import diff as diff_documents
from qnb.workflow.documents import recovery as recovery_documents
from qnb.workflow.documents.figures import figure
from qnb.workflow.documents.layers import worst
from qnb.workflow.guidance import stages
from qnb.workflow.names import FP32

if TYPE_CHECKING:
    import pandas as pd

    from qnb.workflow.check import Check
    from qnb.workflow.guidance.next_step import NextStep
    from qnb.workflow.run import Run
    from qnb.workflow.workflow import Workflow

TONES = {"pass": "good", "fail": "bad", "unclear": "warn", "reference": "neutral"}
MOST = 4
"""How many layers a line names."""
VERDICTS = {status: f"{mark} {status}" for status, mark in stages.MARKS.items()}


def headline(run: Run) -> str:
    return f"{stages.MARKS[run.verdict.status]} {run.name}: {run.verdict.text}"


def facts(run: Run) -> dict[str, str]:
    low, high = run.score.interval()
    found = {"metric": str(run.score) + ("" if math.isnan(low) else f", 95 % interval {low:.4f} to {high:.4f}")}
    if run.comparison is not None:
        layer, own_db = run.weakest_layer  # pyright: ignore[reportGeneralTypeIssues]
        found["output vs FP32"] = decibel(run.output_sqnr_db)
        all_lossless = own_db == math.inf
        found["weakest layer"] = "none" if all_lossless else f"{layer} ({decibel(own_db)} on its own)"
    if run.float16 is not None:
        found["overflow in FP16"] = ", ".join(run.overflowing) or "no layer"
        found["underflowing to zero in FP16"] = ", ".join(run.underflowing) or "no layer"
    if clipped := run.clipped:
        some = [f"{layer} {percent(share)}" for layer, share in islice(clipped.items(), MOST)]
        found["clipped in evaluation"] = ", ".join(some) + (
            f" and {len(clipped) - MOST} more layers" if len(clipped) > MOST else ""
        )
    found |= recovery_documents.facts(run)
    operations = f"{count(run.cost.macs.sum())} MACs, {count(run.cost.bops.sum())} bit operations"
    found["cost"] = f"{size(run.size_bytes)}" + (f", {operations}" if run.cost.macs.sum() else "")
    return found


def run(run: Run) -> Document:
    return Document(
        "run",
        headline(run),
        (Facts(facts(run)), *recovery_documents.blocks(run)),
        TONES[run.verdict.status],
        {"target": run.settings.get("target", ""), "tolerance": f"{run.settings.get('tolerance', '')}"},
        runs=(stages.row(run),),
        next=as_json(run.next_steps),
    )


def as_json(steps: Iterable[NextStep]) -> tuple[dict, ...]:
    return tuple({"title": a.title, "reason": a.reason, "code": a.code} for a in steps)


def check(check: Check) -> Document:
    if not check.ok:
        title = f"✗ {check.model} is not ready to be quantized"
    else:
        title = f"✓ {check.model} can be quantized{stages.warnings(check)}"
    tone = "bad" if not check.ok else "warn" if check.issues else "good"
    blocks = (
        Facts(check.facts),
        *(Text(f"! {f.text}", f.tone) for f in check.issues),
        Table(check.ops, "Layers by kind", 14),
    )
    return Document("check", title, blocks, tone, {"model": check.model})


def short_summary(flow: Workflow) -> pd.DataFrame:
    """The columns of the summary that a person reads first."""
    frame = flow.summary()
    frame["size"] = [size(b) for b in frame.size_bytes]
    return frame[["run", "metric", "drop", "verdict", "size", "weakest_layer", "weakest_own_sqnr_db"]]  # pyright: ignore[reportReturnType]


def runs_table(flow: Workflow) -> Table:
    aligned = partial(metric_text, aligned=True)
    forms = {"verdict": VERDICTS.get, "metric": aligned, "drop": aligned, "weakest_own_sqnr_db": decibel}
    return Table(short_summary(flow), "All runs", 20, forms)


def workflow(flow: Workflow, *before: Any, max_rows: int | None = 2) -> Document:
    """Title, ``before``, the runs, and what to do next, the first so many steps."""
    steps = flow.next_steps()
    blocks = [*before, *other_data(flow), *([runs_table(flow)] if flow.runs else [])]
    blocks += [
        Code(a.code, f"{'Or' if index else 'Next'}: {a.title}", a.reason) for index, a in enumerate(steps[:max_rows])
    ]
    return Document(
        "workflow",
        title(flow),
        tuple(blocks),
        workflow=identity(flow),
        stages=tuple(stages.as_rows(stages.stages(flow))),
        runs=tuple(stages.row(r) for r in flow.runs.values()),
        next=as_json(steps),
    )


def other_data(flow: Workflow) -> list[Text]:
    """A warning where a loaded workflow goes on with other calibration data than its runs were made with."""
    known = {name: run.settings.get("data") for name, run in flow.runs.items()}
    others = [name for name, data in known.items() if flow.data_fingerprint and data and data != flow.data_fingerprint]
    if not others:
        return []
    named = ", ".join(others[:6]) + (f" and {len(others) - 6} more" if len(others) > 6 else "")
    said = (
        f"! The calibration data is not that of {named}: other samples, or in another order. New runs are "
        "not directly comparable with these; run them again, or load the file with the data it was made with."
    )
    return [Text(said, "warn")]


def panel(flow: Workflow, max_rows: int | None = 2) -> Document:
    """The workflow panel as a page: ladder, chart, runs, next steps."""
    before: list = [Ladder(stages.as_rows(stages.stages(flow)))]
    if flow.runs:
        before.append(figure(flow.chart()))
    return workflow(flow, *before, max_rows=max_rows)


def dashboard(flow: Workflow, *, samples: bool = True) -> Document:
    """Everything on one page: the panel, the check, every run with all that was found about it, what was deployed.

    Args:
        samples: show the worst samples themselves; without, only their figures.
    """
    page, blocks = panel(flow, max_rows=None), []
    if flow.check_result is not None:
        blocks += _section(check(flow.check_result))
    for found in flow.runs.values():
        if found.comparison is not None:
            blocks += [*_run_in_full(found), *_about(flow, found.name, samples)]
    if flow.proposal is not None:
        blocks += [Text(f"Proposed, not kept yet: {flow.proposal.name}"), *_run_in_full(flow.proposal)]
    for deployed in flow.deployments.values():
        blocks += [
            Text(deploy_documents.title(deployed), deploy_documents.tone(deployed)),
            *deploy_documents.blocks(deployed),
        ]
    if flow.performance:
        forms = {"file_bytes": size}
        blocks.append(Table(performance.table(flow.performance), "Size and speed of the runs' files", 40, forms))
    return replace(page, kind="dashboard", blocks=(*page.blocks, *blocks))


def _section(document: Document) -> list:
    """A document's title and blocks, as a part of another."""
    return [Text(document.title, document.tone), *document.blocks]


def _run_in_full(run: Run) -> list:
    from qnb import charts

    return [
        Text(headline(run), TONES[run.verdict.status]),
        Facts(facts(run) | made_with(run)),
        *recovery_documents.in_full(run),
        figure(charts.layer_sqnr({run.name: run.comparison}, own=True)),
        worst(run.name, run.comparison),  # pyright: ignore[reportArgumentType]
    ]


def _about(flow: Workflow, name: str, samples: bool) -> list:
    """What was found about a run: why it loses, where its error comes from, which quantizers cost it, whether
    calibration had enough samples, which samples it does worst on, mixes of precisions."""
    blocks = _against_its_base(flow, name)
    blocks += _section(flow.diagnoses[name].document()) if name in flow.diagnoses else []
    if found := flow.attributions.get(name):
        blocks += [Text(found.caption()), *map(figure, found.figures()), *found.document().blocks]
    if found := flow.sensitivities.get(name):
        blocks += [Text(found.caption()), figure(found.chart()), *found.document().blocks]
    if found := flow.sequences.get(name):
        blocks += [Text(found.caption()), *map(figure, found.figures()), *found.document().blocks]
    if found := flow.calibration_curves.get(name):
        blocks += [Text(found.caption()), *map(figure, found.figures()), *found.document().blocks]
    if found := flow.worst.get(name):
        blocks += _section((found if samples else found.figures_only()).document())
    if found := flow.pareto_fronts.get(name):
        blocks += _section(found.document())
    return blocks


def _against_its_base(flow: Workflow, name: str) -> list:
    """What a run that was made from another won and lost, and what it costs."""
    base = recovery_documents.before_of(flow, flow[name])
    if base is None or base.name in (FP32, name):
        return []
    found = flow.diff(base.name, name)
    document = found.document()
    return [Text(document.title, document.tone), diff_documents.costs_table(found)]


def made_with(run: Run) -> dict[str, str]:
    """What reproduces a run's numbers, in a line."""
    kept = run.settings
    said = [f"{kept['calibration_method']} ranges"] if kept.get("calibration_method") else []
    said += [f"{name} {value}" for name, value in kept.get("options", {}).items()]
    for changed, form in ((kept.get("layers", {}), "{} at {}"), (kept.get("calibration_methods", {}), "{} by {}")):
        said += [form.format(*change) for change in islice(changed.items(), MOST)]
        said += [f"and {len(changed) - MOST} more"] if len(changed) > MOST else []
    names = {"seed": "seed", "data": "calibration data", "qnb": "qnb", "torch": "torch", "python": "Python"}
    said += [f"{words} {kept[name]}" for name, words in names.items() if name in kept]
    return {"made with": ", ".join(said)} if said else {}


def written(now: datetime) -> str:
    """When a page was written down, and by which qnb."""
    return f"Made by qnb {__version__} on {now:%Y-%m-%d at %H:%M} UTC"


def dated(page: Document, now: datetime) -> Document:
    """A page that ends with when it was written."""
    return replace(page, blocks=(*page.blocks, Text(written(now))))


def identity(flow: Workflow) -> dict[str, str]:
    return {
        "variable": flow.variable,
        "model": model_name(flow),
        "target": flow.target.name,
        "tolerance": f"{flow.tolerance:g}",
    }


def model_name(flow: Workflow) -> str:
    if flow.capture.known is not None:
        return flow.capture.known.name
    return flow.model_name


def title(flow: Workflow) -> str:
    note = " (from a file)" if flow.model is None else ""
    return f"Workflow: {model_name(flow)} for {flow.target.name}, tolerance {flow.tolerance:g}{note}"
