"""How workflow objects show in a cell: pure functions, object -> text or script-free HTML."""

from __future__ import annotations

import math

from qnb.html import card, count, escape, paragraph, size, table
from qnb.workflow.verdict import decibel

MARKS = {"ok": "✓", "fail": "✗", "undecided": "?", "reference": "="}
TONES = {"ok": "good", "fail": "bad", "undecided": "warn", "reference": "neutral"}


def headline(run) -> str:
    return f"{MARKS[run.verdict.state]} {run.name}: {run.verdict.text}"


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


def run_text(run) -> str:
    width = max(map(len, facts(run)))
    return "\n".join([headline(run), *(f"  {k.ljust(width)}  {v}" for k, v in facts(run).items())])


def run_html(run) -> str:
    return card(headline(run), facts(run), tone=TONES[run.verdict.state])


def check_text(check) -> str:
    width = max(map(len, check.facts))
    lines = [_check_title(check), *(f"  {k.ljust(width)}  {v}" for k, v in check.facts.items())]
    return "\n".join([*lines, *(f"  ! {f.text}" for f in check.findings)])


def check_html(check) -> str:
    notes = "".join(paragraph(f"! {f.text}") for f in check.findings)
    tone = "bad" if not check.ok else "warn" if check.findings else "good"
    return card(_check_title(check), check.facts, notes, table(check.ops, 14), tone=tone)


def _check_title(check) -> str:
    if not check.ok:
        return f"✗ {check.model} is not ready to be quantized"
    minds = f", {len(check.findings)} to mind" if check.findings else ""
    return f"✓ {check.model} can be quantized{minds}"


def short_summary(flow):
    """The columns of the summary that a person reads first."""
    frame = flow.summary()
    frame["size"] = [size(b) for b in frame.size_bytes]
    return frame[["run", "metric", "drop", "verdict", "size", "worst_layer", "worst_own_sqnr_db"]]


def workflow_text(flow) -> str:
    lines = [_title(flow)]
    if flow.runs:
        lines.append(short_summary(flow).to_string(index=False, float_format=lambda v: f"{v:.4g}"))
    advice = flow.next()
    return "\n".join([*lines, f"Next: {advice[0]}"])


def workflow_html(flow) -> str:
    parts = []
    if flow.runs:
        marks = {s: f"{m} {s}" for s, m in MARKS.items()}
        parts.append(table(short_summary(flow), 20, {
            "verdict": marks.get, "metric": lambda v: f"{v:.4f}", "drop": lambda v: f"{v:.4f}",
        }))  # fmt: skip
    for advice in flow.next()[:2]:
        code = f"<pre style='margin:2px 0 6px'>{escape(advice.code)}</pre>" if advice.code else ""
        parts.append(f"<p style='margin:4px 0'><b>Next:</b> {escape(advice.what)}. {escape(advice.why)}.</p>{code}")
    return card(_title(flow), {}, *parts)


def _title(flow) -> str:
    loaded = flow.model is None
    name = flow.captured.name if flow._captured is not None or loaded else type(flow.model).__name__
    note = " (from a file)" if loaded else ""
    return f"Workflow: {name} for {flow.target.name}, tolerance {flow.tolerance:g}{note}"


def comparison_text(frames) -> str:
    lines = []
    for name, frame in frames.items():
        worst = frame.nsmallest(3, "own_sqnr_db")
        named = ", ".join(f"{r.layer} {decibel(r.own_sqnr_db)}" for r in worst.itertuples())
        lines.append(f"{name}: {len(frame)} layers; those that lose most on their own: {named}")
    return "\n".join(lines)
