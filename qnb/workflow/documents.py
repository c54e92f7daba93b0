"""What the workflow's results say, as documents: object -> `Document`, pure functions."""

from __future__ import annotations

import math
from dataclasses import replace

from qnb.document import Code, Document, Facts, Figure, Ladder, Table, Text
from qnb.html import count, number, size
from qnb.sim import tables
from qnb.workflow import ladder
from qnb.workflow.verdict import decibel

TONES = {"ok": "good", "fail": "bad", "undecided": "warn", "reference": "neutral"}
SHOWN = ["layer", "op", "sqnr_db", "own_sqnr_db", "saturated_fraction", "fp32_min", "fp32_max"]
VERDICTS = {state: f"{mark} {state}" for state, mark in ladder.MARKS.items()}


def decimal(value: float) -> str:
    return f"{value:.4f}"


def percent(value: float) -> str:
    """A share, 0 to 1.

    >>> percent(0.0123), percent(0.0)
    ('1.2 %', '0 %')
    """
    return f"{100 * value:.2g} %" if value else "0 %"


FORMS = {"sqnr_db": decibel, "own_sqnr_db": decibel, "saturated_fraction": percent}


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
    operations = f"{count(run.cost.macs.sum())} MACs, {count(run.cost.bops.sum())} bit operations"
    found["cost"] = f"{size(run.size_bytes)}" + (f", {operations}" if run.cost.macs.sum() else "")
    return found


def run(run) -> Document:
    return Document(
        "run", headline(run), (Facts(facts(run)),), TONES[run.verdict.state],
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


def workflow(flow, *before, kind: str = "workflow") -> Document:
    """Title, ``before``, the runs, and what to do next."""
    advice = flow.next()
    blocks = [*before, *([runs_table(flow)] if flow.runs else [])]
    blocks += [Code(a.code, f"Next: {a.what}", a.why) for a in advice[:2]]
    return Document(
        kind, title(flow), tuple(blocks), workflow=identity(flow), stages=tuple(ladder.as_rows(ladder.stages(flow))),
        runs=tuple(ladder.row(r) for r in flow.runs.values()), next=advised(advice),
    )  # fmt: skip


def panel(flow) -> Document:
    """The workflow panel on paper: ladder, chart, runs, next step."""
    before = [Ladder(ladder.as_rows(ladder.stages(flow)))]
    if flow.runs:
        before.append(figure(flow.chart()))
    return workflow(flow, *before)


def dashboard(flow) -> Document:
    """Everything on one page: the panel, then every run with its layers."""
    from qnb import charts

    page, blocks = panel(flow), []
    for found in flow.runs.values():
        if found.comparison is None:
            continue
        blocks += [Text(headline(found), TONES[found.verdict.state]), Facts(facts(found)),
                   figure(charts.layer_sqnr({found.name: found.comparison}, own=True)),
                   _worst(found.name, found.comparison)]  # fmt: skip
    return replace(page, kind="dashboard", blocks=(*page.blocks, *blocks))


def layer_figures(flow, layer: str):
    """A selected layer's figures in the selected run, and in the one it is compared with: a DataFrame of text."""
    import pandas as pd

    found = {"": list(_LAYER_FORMS)}
    for name in filter(None, (flow.selection.run, flow.selection.against)):
        run = flow[name]
        row = run.comparison.set_index("layer", drop=False).loc[layer]
        bits = _bits(run, layer)
        found[name] = [form(row, bits) for form in _LAYER_FORMS.values()]
    return pd.DataFrame(found)


def _bits(run, layer: str) -> str:
    if run.sim is None:
        return ""
    group = next(g for g in run.sim.groups if g.layer == layer)
    found = zip(tables.layer_bits(run.sim, group), ("weights", "output"), strict=True)
    return ", ".join(f"{bits} ({what})" for bits, what in found if isinstance(bits, int))


_LAYER_FORMS = {
    "op": lambda row, bits: row.op,
    "bits": lambda row, bits: bits,
    "SQNR, accumulated": lambda row, bits: decibel(row.sqnr_db),
    "SQNR, its own": lambda row, bits: decibel(row.own_sqnr_db),
    "saturated": lambda row, bits: percent(row.saturated_fraction),
    "largest error": lambda row, bits: number(row.max_abs_error),
    "mean squared error": lambda row, bits: number(row.mse),
    "cosine": lambda row, bits: f"{row.cosine:.5f}",
    "FP32 range": lambda row, bits: f"{row.fp32_min:.3g} to {row.fp32_max:.3g}",
    "values compared": lambda row, bits: count(row.numel),
}


def explorer(flow) -> Document:
    """The layer explorer on paper: bars, the worst layers, the selected layer's values."""
    from qnb import charts
    from qnb.workflow.display import histogram

    selection = flow.selection
    runs = {n: flow[n].comparison for n in (selection.run, selection.against) if n is not None}
    blocks = [figure(charts.layer_sqnr(runs, own=len(runs) == 1)), *(_worst(n, f) for n, f in runs.items())]
    if selection.layer is not None:
        if flow.profiled(selection.run):
            profile = flow.profile(selection.run)[selection.layer]
            blocks.append(figure(histogram(profile, f"{selection.run}, {selection.layer}")))
        blocks.append(Table(layer_figures(flow, selection.layer), selection.layer, 40))
    return Document("explorer", f"Layers of {' and '.join(runs)}", tuple(blocks), workflow=identity(flow))


def identity(flow) -> dict[str, str]:
    return {"variable": flow.variable, "model": model_name(flow), "target": flow.target.name,
            "tolerance": f"{flow.tolerance:g}"}  # fmt: skip


def model_name(flow) -> str:
    return flow.captured.name if flow._captured is not None else type(flow.model).__name__


def title(flow) -> str:
    note = " (from a file)" if flow.model is None else ""
    return f"Workflow: {model_name(flow)} for {flow.target.name}, tolerance {flow.tolerance:g}{note}"


def comparison(frames) -> Document:
    return Document("comparison", "FP32 against QuantSim", tuple(_worst(n, f) for n, f in frames.items()))


def _worst(name: str, frame) -> Table:
    caption = f"{name}: the layers that lose most on their own (of {len(frame)})"
    return Table(frame.nsmallest(5, "own_sqnr_db")[SHOWN], caption, 12, FORMS)


def comparison_text(frames) -> str:
    lines = []
    for name, frame in frames.items():
        worst = frame.nsmallest(3, "own_sqnr_db")
        named = ", ".join(f"{r.layer} {decibel(r.own_sqnr_db)}" for r in worst.itertuples())
        lines.append(f"{name}: {len(frame)} layers; those that lose most on their own: {named}")
    return "\n".join(lines)


def figure(chart) -> Figure:
    """A Plotly figure as a block, with its picture."""
    from qnb.charts.svg import svg
    from qnb.workflow.display import figure_json, figure_title

    return Figure(figure_json(chart), figure_title(chart), svg(chart))
