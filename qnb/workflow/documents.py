"""What the workflow's results say, as documents: object -> `Document`, pure functions."""

from __future__ import annotations

import math
from dataclasses import replace

from qnb.document import Code, Document, Facts, Ladder, Table, Text
from qnb.html import count, decibel, size
from qnb.workflow import deploy_documents, ladder, recovery_documents
from qnb.workflow.layer_documents import figure, worst

TONES = {"ok": "good", "fail": "bad", "undecided": "warn", "reference": "neutral"}
VERDICTS = {state: f"{mark} {state}" for state, mark in ladder.MARKS.items()}


def decimal(value: float) -> str:
    return f"{value:.4f}"


def headline(run) -> str:
    return f"{ladder.MARKS[run.verdict.state]} {run.name}: {run.verdict.text}"


def facts(run) -> dict[str, str]:
    low, high = run.score.interval()
    found = {"metric": str(run.score) + ("" if math.isnan(low) else f", 95 % interval {low:.4f} to {high:.4f}")}
    if run.comparison is not None:
        layer, own_db = run.worst_layer
        found["output against FP32"] = decibel(run.output_sqnr_db)
        found["layer that loses most"] = f"{layer} ({decibel(own_db)} on its own)"
    if run.float16 is not None:
        found["overflow in FP16"] = ", ".join(run.overflowing) or "no layer"
        found["flushed to zero in FP16"] = ", ".join(run.flushed) or "no layer"
    found |= recovery_documents.facts(run)
    operations = f"{count(run.cost.macs.sum())} MACs, {count(run.cost.bops.sum())} bit operations"
    found["cost"] = f"{size(run.size_bytes)}" + (f", {operations}" if run.cost.macs.sum() else "")
    return found


def run(run) -> Document:
    return Document(
        "run", headline(run), (Facts(facts(run)), *recovery_documents.blocks(run)), TONES[run.verdict.state],
        {"target": run.settings.get("target", ""), "tolerance": f"{run.settings.get('tolerance', '')}"},
        runs=(ladder.row(run),), next=advised(run.next),
    )  # fmt: skip


def advised(advice) -> tuple[dict, ...]:
    return tuple({"what": a.what, "why": a.why, "code": a.code} for a in advice)


def check(check) -> Document:
    if not check.ok:
        title = f"✗ {check.model} is not ready to be quantized"
    else:
        minds = f", {len(check.findings)} to mind" if check.findings else ""
        title = f"✓ {check.model} can be quantized{minds}"
    tone = "bad" if not check.ok else "warn" if check.findings else "good"
    blocks = (Facts(check.facts), *(Text(f"! {f.text}", f.tone) for f in check.findings),
              Table(check.ops, "Layers by kind", 14))  # fmt: skip
    return Document("check", title, blocks, tone, {"model": check.model})


def short_summary(flow):
    """The columns of the summary that a person reads first."""
    frame = flow.summary()
    frame["size"] = [size(b) for b in frame.size_bytes]
    return frame[["run", "metric", "drop", "verdict", "size", "worst_layer", "worst_own_sqnr_db"]]


def runs_table(flow) -> Table:
    forms = {"verdict": VERDICTS.get, "metric": decimal, "drop": decimal, "worst_own_sqnr_db": decibel}
    return Table(short_summary(flow), "All runs", 20, forms)


def workflow(flow, *before) -> Document:
    """Title, ``before``, the runs, and what to do next."""
    advice = flow.next()
    blocks = [*before, *([runs_table(flow)] if flow.runs else [])]
    blocks += [Code(a.code, f"Next: {a.what}", a.why) for a in advice[:2]]
    return Document(
        "workflow", title(flow), tuple(blocks), workflow=identity(flow),
        stages=tuple(ladder.as_rows(ladder.stages(flow))),
        runs=tuple(ladder.row(r) for r in flow.runs.values()), next=advised(advice),
    )  # fmt: skip


def panel(flow) -> Document:
    """The workflow panel on paper: ladder, chart, runs, next step."""
    before = [Ladder(ladder.as_rows(ladder.stages(flow)))]
    if flow.runs:
        before.append(figure(flow.chart()))
    return workflow(flow, *before)


def dashboard(flow) -> Document:
    """Everything on one page: the panel, every run with its layers, what was deployed."""
    from qnb import charts

    page, blocks = panel(flow), []
    for found in flow.runs.values():
        if found.comparison is None:
            continue
        blocks += [Text(headline(found), TONES[found.verdict.state]), Facts(facts(found)),
                   *recovery_documents.blocks(found),
                   figure(charts.layer_sqnr({found.name: found.comparison}, own=True)),
                   worst(found.name, found.comparison)]  # fmt: skip
    for deployed in flow.deployments.values():
        blocks += [Text(deploy_documents.title(deployed), deploy_documents.tone(deployed)),
                   *deploy_documents.blocks(deployed)]  # fmt: skip
    return replace(page, kind="dashboard", blocks=(*page.blocks, *blocks))


def identity(flow) -> dict[str, str]:
    return {"variable": flow.variable, "model": model_name(flow), "target": flow.target.name,
            "tolerance": f"{flow.tolerance:g}"}  # fmt: skip


def model_name(flow) -> str:
    return flow.captured.name if flow._captured is not None else type(flow.model).__name__


def title(flow) -> str:
    note = " (from a file)" if flow.model is None else ""
    return f"Workflow: {model_name(flow)} for {flow.target.name}, tolerance {flow.tolerance:g}{note}"
