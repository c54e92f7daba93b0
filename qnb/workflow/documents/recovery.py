"""Documents of a recovered run: the applied methods, what each one gained; and the recovery panel as a page."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from qnb.document import Code, Document, Facts, Table, Text
from qnb.methods import METHODS, STAGES, Method
from qnb.methods.method import MEASURED_BATCHES
from qnb.text import amount, decibel, metric_text, size
from qnb.workflow.documents.figures import figure
from qnb.workflow.documents.layers import worst
from qnb.workflow.guidance.next_step import recover_code

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from qnb.workflow.run import Run
    from qnb.workflow.workflow import Workflow

PROMISE = (
    "a new run beside the old one, at the same precision, with weights and ranges improved by the methods you choose"
)


def methods() -> pd.DataFrame:
    """All methods in order: stage, name, what it does."""
    rows = [(row.stage, row.name, row.title, row.summary) for row in in_order()]
    return pd.DataFrame(rows, columns=["stage", "method", "title", "what"])


def in_order() -> list[Method]:
    """All methods, by stage."""
    return sorted((METHODS[name] for name in METHODS), key=lambda row: STAGES.index(row.stage))


def results(run: Run) -> Table | None:
    """One row per method that the run has had."""
    if not run.recovery:
        return None
    rows = [(r.method, r.output_before_db, r.output_after_db, r.seconds) for r in run.recovery]
    frame = pd.DataFrame(rows, columns=["method", "before_db", "after_db", "seconds"])
    caption = f"Applied methods: SQNR at the output, over the first {MEASURED_BATCHES} batches"
    return Table(frame, caption, 12, {"before_db": decibel, "after_db": decibel})


def attempts(run: Run) -> Table | None:
    """What "auto" tried."""
    if run.attempts is None:
        return None
    frame = run.attempts.assign(
        size=[size(b) if b == b else "" for b in run.attempts.size_bytes],
        kept=["✓" if k else "" for k in run.attempts.kept],
    )
    frame = frame[["tried", "metric", "drop", "verdict", "sqnr_db", "size", "seconds", "kept"]]
    forms = {
        "metric": partial(metric_text, aligned=True),
        "drop": lambda v: "" if v != v else amount(v),
        "sqnr_db": lambda v: "" if v != v else decibel(v),
    }
    return Table(frame, "What auto tried, in this order", 20, forms)


def facts(run: Run) -> dict[str, str]:
    """Lines of a run's own document."""
    if not run.recovery:
        return {}
    return {"recovered by": ", then ".join(r.method for r in run.recovery), "from": str(run.settings.get("from", ""))}


def blocks(run: Run) -> tuple:
    notes = [Text(f"{r.method}: {note}") for r in run.recovery for note in r.notes]
    return (*(b for b in (attempts(run), results(run)) if b is not None), *notes)


def in_full(run: Run) -> tuple:
    """`blocks`, and of each method its options, notes, layers before and after, and the loss on the way."""
    from qnb import charts

    found: list = [b for b in (attempts(run), results(run)) if b is not None]
    for r in run.recovery:
        found += [Text(r.sentence()), *r.document().blocks]
        if "loss" in r.history:
            found.append(figure(charts.history(r.history, name=r.method)))
    return tuple(found)


def change(before: Run, after: Run) -> str:
    """What a recovery brought, in one line."""
    said = [
        f"metric {metric_text(before.score.value)} → {metric_text(after.score.value)}",
        f"drop {amount(before.drop.value)} → {amount(after.drop.value)}",
        f"output {decibel(before.output_sqnr_db)} → {decibel(after.output_sqnr_db)}",
    ]
    if after.size_bytes != before.size_bytes:
        said.append(f"{size(before.size_bytes)} → {size(after.size_bytes)}")
    return f"{after.name}: {', '.join(said)}"


def before_of(flow: Workflow, run: Run) -> Run | None:
    """The run that a recovered one came from; None where it is gone."""
    return flow.runs.get(run.settings.get("from", ""))


def chart(flow: Workflow, run: Run) -> go.Figure:
    """SQNR of every layer before and after."""
    from qnb import charts

    before = before_of(flow, run)
    if before is None:
        return charts.layer_sqnr({run.name: run.comparison})
    found = charts.layer_sqnr({before.name: before.comparison, run.name: run.comparison}, worst=0)
    better = (run.comparison.sqnr_db.to_numpy() > before.comparison.sqnr_db.to_numpy()).sum()
    output = f"{decibel(before.output_sqnr_db)} → {decibel(run.output_sqnr_db)}"
    return found.update_layout(title_text=f"Output {output}; {better} of {len(run.comparison)} layers closer to FP32")  # pyright: ignore[reportArgumentType]


def panel(flow: Workflow, name: str | None, shown: Run | None) -> Document:
    """The recovery panel as a page: the results, or what could be tried.

    Args:
        name: the run to start from.
        shown: the recovered run that is looked at, None before there is one.
    """
    if shown is not None:
        before = before_of(flow, shown)
        title = change(before, shown) if before is not None else f"{shown.name}: {shown.verdict.text}"
        tone = {"pass": "good", "fail": "bad", "unclear": "warn"}[shown.verdict.status]
        return Document(
            "recovery",
            title,
            (
                Text(shown.verdict.text, tone),
                *blocks(shown),
                figure(chart(flow, shown)),
                worst(shown.name, shown.comparison),  # pyright: ignore[reportArgumentType]
            ),
            tone,
        )
    table = Table(
        methods()[["stage", "method", "what"]], "Recovery methods, in the order in which they are applied", 20
    )
    if name is None:
        return Document("recovery", "Recover: no run yet", (Text(PROMISE), table))
    code = Code(
        recover_code(flow.variable, name, ("auto",)), "Next: try recovery methods, the most promising first", PROMISE
    )
    return Document(
        "recovery",
        f"Recover the accuracy of {name}: {flow[name].verdict.text}",
        (code, Facts({"metric": str(flow[name].score)}), table),
    )
