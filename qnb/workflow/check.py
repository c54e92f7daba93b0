"""Check: does the model export and run, what is in it, and what to know before quantizing it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from qnb.document import Document, Shown
from qnb.errors import InputError
from qnb.graph.batches import length
from qnb.graph.captured import as_call
from qnb.graph.structure import flatten
from qnb.measures.layers.error import ErrorStats
from qnb.numerics import Precision
from qnb.progress import Report
from qnb.sim import QuantSim, limits
from qnb.sim.graph_model import ReferenceModel
from qnb.sim.recurrent_notes import notes
from qnb.text import LOSSLESS, decibel, number
from qnb.workflow.guidance.joined_ranges import crowded
from qnb.workflow.jobs.progress import shown
from qnb.workflow.results import check_has_data

if TYPE_CHECKING:
    from qnb.graph.captured import Captured
    from qnb.workflow.workflow import Workflow

FEW_SAMPLES = 64


@dataclass(frozen=True)
class Issue:
    """A warning (``tone`` is warn), or what stops the check (bad)."""

    tone: str
    text: str


@dataclass(frozen=True, repr=False)
class Check(Shown):
    """What ``Workflow.check`` found.

    Args:
        model: class name.
        facts: name to text, in order.
        issues: warnings and errors; empty where all is well.
        ops: one row per kind of layer: ``op, layers, weights``.
        capture_sqnr_db: the captured graph against the model itself; ``inf`` where they are equal.
    """

    model: str
    facts: dict[str, str]
    issues: tuple[Issue, ...]
    ops: pd.DataFrame
    capture_sqnr_db: float

    @property
    def ok(self) -> bool:
        return not any(f.tone == "bad" for f in self.issues)

    def document(self) -> Document:
        from qnb.workflow.documents import workflow as documents

        return documents.check(self)


def check(flow: Workflow, progress: Report | None = None) -> Check:
    """Does the model export and run, what is in it, what needs attention? Do this first.

    Args:
        progress: ``progress(done, total, message)``, as for `Workflow.run`.
    """
    title = "flow.check()"
    check_has_data(flow, "flow.check")
    with flow.jobs.alone(title), shown(title, progress, stages=2) as report:
        flow.check_result = _look(flow, report)
    flow.changed.emit()
    return flow.check_result


def _look(flow: Workflow, report: Report) -> Check:
    """Capture the model, run it beside its captured graph, and look at what is in it."""
    report(0, None, "capturing the model")
    captured = flow.captured
    report(0, None, "comparing the captured graph with the model")
    sim = QuantSim(captured, precision="w8a16", target=flow.target)
    batch = next(iter(flow.batches))
    sqnr_db = _difference(flow.model, ReferenceModel(captured, captured.module), batch)
    batches, samples = _count(flow.batches)
    weights = sum(p.numel() for p in captured.module.parameters())
    facts = {
        "inputs": "; ".join(str(i) for i in captured.inputs),
        "layers": f"{len(sim.groups)} with {number(weights)} parameters",
        "captured graph": _equality(sqnr_db),
        "batch size": "free" if _batch_is_free(captured) else "fixed",
        "calibration": f"{samples} samples in {batches} batches",
        "target": f"{flow.target.name}, {flow.target.description}",
    }
    issues = tuple(_issues(flow, captured, sim, sqnr_db, samples, batch))
    return Check(captured.name, facts, issues, _ops(sim), sqnr_db)


def _equality(sqnr_db: float) -> str:
    """The captured graph against the model; float32 rounding alone leaves more than 100 dB.

    >>> _equality(float("inf")), _equality(141.26), _equality(20.0)
    ('equals the model (lossless)', 'equals the model to 141.3 dB', '20.0 dB from the model')
    """
    if sqnr_db == float("inf"):
        return f"equals the model ({LOSSLESS})"
    return f"equals the model to {decibel(sqnr_db)}" if sqnr_db > 100 else f"{decibel(sqnr_db)} from the model"


def _issues(
    flow: Workflow, captured: Captured, sim: QuantSim, sqnr_db: float, samples: int, batch: Any
) -> Iterable[Issue]:
    if sqnr_db < 60:
        yield Issue(
            "bad",
            f"the captured graph differs from the model ({decibel(sqnr_db)}): does forward depend on "
            "values, on random numbers, or on state?",
        )
    leaves, _ = flatten(as_call(batch), "input")
    if any(x.is_floating_point() and not torch.isfinite(x).all() for x in leaves):
        yield Issue("bad", "the first calibration batch holds NaN or infinite values")
    if sim.plan.unknown:
        named = ", ".join(f"{op} ({layer})" for layer, op in sim.plan.unknown[:5])
        yield Issue("warn", f"ops unknown to qnb are quantized at their output: {named}")
    if not _batch_is_free(captured):
        yield Issue(
            "warn",
            f"the batch size stayed fixed ({'; '.join(captured.fixed)}): calibrate, evaluate and "
            "compare with that size",
        )
    if samples < FEW_SAMPLES:
        yield Issue("warn", f"{samples} calibration samples are few: 100 to 1000 are usual")
    if flow.target.precisions and "w16a16" not in flow.target.precisions:
        yield Issue("warn", f"{flow.target.name} does not run W16A16: use it as the baseline in simulation only")
    yield from _limits(sim)
    yield from (Issue("warn", text) for text in notes(sim))
    for found in crowded(captured, captured.flatten(batch, "Workflow.check")):
        yield Issue(
            "warn",
            f"{found.concat!r} joins {found.layer!r} ({found.low:.3g} to {found.high:.3g}) with larger values: "
            f"with 8-bit activations its steps are {found.step:.2g}, which leaves {found.layer!r} {found.steps} of "
            f"255: return them separately, or give {found.concat!r} 16-bit activations",
        )
    for note in captured.notes:
        yield Issue("warn", note)


def _limits(sim: QuantSim) -> Iterable[Issue]:
    """What the target does not run, or only coarsely, with the layers that it is about."""
    for limit, said in limits.sentences(limits.met(sim), sim.target):
        yield Issue("bad" if limit.refused and not limit.when else "warn", said)


def _difference(model, reference, batch) -> float:
    """SQNR of the captured graph's outputs against the model's own, in dB."""
    args, kwargs = as_call(batch)
    with torch.no_grad():
        own, _ = flatten(model(*args, **kwargs))
        ours, _ = flatten(reference(*args, **kwargs))
    stats = ErrorStats()
    for a, b in zip(own, ours, strict=True):
        if a.numel():
            stats.update(a.float(), b.float())
    return stats.sqnr_db


def _batch_is_free(captured: Captured) -> bool:
    return all(not i.shape or not isinstance(i.shape[0], int) for i in captured.inputs)


def _count(batches: Iterable[Any]) -> tuple[int, int]:
    """(batches, samples), counted by going through them once."""
    count = samples = 0
    for batch in batches:
        leaves, _ = flatten(as_call(batch), "calibration batch")
        count += 1
        samples += leaves[0].shape[0] if leaves and leaves[0].dim() else 1
    if not count:
        raise InputError("Workflow.check", "an empty calibration loader", "pass at least one batch")
    return length(batches) or count, samples


def _ops(sim: QuantSim) -> pd.DataFrame:
    layers = sim.layers()
    counts = Counter(layers.op)
    weights = layers.groupby("op").weight_numel.sum()
    rows = [(op, n, int(weights[op])) for op, n in counts.items()]
    return pd.DataFrame(rows, columns=["op", "layers", "weights"])


def supported(flow: Workflow, precision: str) -> bool:
    """Whether the target runs a precision; targets that list none run all."""
    names = flow.target.precisions
    return not names or Precision.parse(precision).name in names
