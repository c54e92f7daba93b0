"""Two runs of a workflow side by side: what the second one won and lost, and what it was made with."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from qnb import columns
from qnb.document import Document
from qnb.errors import InputError
from qnb.measures import Score, paired_drop
from qnb.measures.encodings import changed_encodings
from qnb.measures.layers.gains import gains
from qnb.measures.metrics.score import Drop
from qnb.numerics import FloatGrid
from qnb.sim import tables
from qnb.workflow.documents import diff as documents
from qnb.workflow.documents.display import Charted
from qnb.workflow.names import FP32
from qnb.workflow.summary import cost_row

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from qnb.workflow.run import Run
    from qnb.workflow.workflow import Workflow

DIFFERENCE = "difference"


@dataclass(frozen=True, repr=False)
class Diff(Charted):
    """What is different in run ``b``, seen from run ``a``.

    Args:
        a, b: names of the runs.
        scores: their metrics.
        metric: how much worse ``b`` is than ``a``, tested between the two; None where one metric is better when
            higher and the other when lower.
        layers: `qnb.columns.DIFF`, in graph order.
        samples: on which the runs differ, `qnb.columns.DIFF_SAMPLES`; empty where nothing is known of samples.
        costs: `qnb.columns.DIFF_COSTS`.
        settings: `qnb.columns.DIFF_SETTINGS`.
        unlike: columns of ``costs`` whose difference says nothing, and why.
        sims: the runs' simulations, or None; for ``encodings``, which are read when they are asked for.
    """

    a: str
    b: str
    scores: tuple[Score, Score]
    metric: Drop | None
    layers: pd.DataFrame
    samples: pd.DataFrame
    costs: pd.DataFrame
    settings: pd.DataFrame
    unlike: dict[str, str]
    sims: tuple[Any, Any]

    @cached_property
    def encodings(self) -> pd.DataFrame | None:
        """Those that differ, `qnb.columns.DIFF_ENCODINGS`; None where a run has no simulation."""
        return changed_encodings(*self._tables) if self._tables else None

    @property
    def encodings_compared(self) -> int:
        """How many there are."""
        return max(map(len, self._tables), default=0)

    @cached_property
    def _tables(self) -> list[pd.DataFrame]:
        return [] if None in self.sims else [sim.encodings() for sim in self.sims]

    @property
    def table(self) -> pd.DataFrame:
        """The layers."""
        return self.layers

    @property
    def verdict(self) -> str:
        """``better``, ``worse``, ``same`` (nothing differs), ``none`` (no measurable difference of the metric) or
        ``unknown`` (nothing is known of the metric's noise): of ``b``, by the metric."""
        return documents.verdict(self)

    def chart(self, *, own: bool = True) -> go.Figure:
        """A bar per layer, up where ``b`` is closer to FP32; by own SQNR or the accumulated one."""
        from qnb import charts

        return charts.diff(self.layers, names=(self.a, self.b), own=own)

    def figures(self) -> list:
        return [self.chart()]

    def caption(self) -> str:
        return documents.sentence(self)

    def headline(self) -> str:
        """The caption without the encodings, whose comparison takes longest."""
        return documents.sentence(self, encodings=False)

    def document(self) -> Document:
        return documents.document(self)


def diff(flow: Workflow, a: str, b: str) -> Diff:
    """What is different in run ``b``, seen from run ``a``: layers won and lost, metric, encodings, settings, costs.

    Nothing is computed again but the paired test between the two: it works on a workflow from a file, too.

    Args:
        a, b: names of runs, usually the older one first.

    Returns:
        A `Diff`: ``.caption()`` says it in a sentence, ``.chart()`` is the figure, ``.layers`` the table.

    Raises:
        InputError: there is no such run, or it is ``"fp32"``, which the layers of every run are compared with anyway.

    >>> import torch, qnb
    >>> torch.manual_seed(0)  # doctest: +ELLIPSIS
    <torch._C.Generator object at ...>
    >>> data = [torch.randn(8, 4) for _ in range(3)]
    >>> flow = qnb.Workflow(torch.nn.Linear(4, 2).eval(), data, lambda model: float(model(data[0]).abs().mean()))
    >>> _ = flow.run("w8a8"), flow.run("w4a8")
    >>> flow.diff("w8a8", "w4a8").layers.change.tolist()
    ['lost']
    >>> flow.diff("w8a8", "w8a8")
    w8a8 and w8a8: no difference
    """
    one, other = (_known(flow, name) for name in (a, b))
    comparable = one.score.higher_is_better == other.score.higher_is_better
    costs, unlike = _costs(flow, one, other)
    return Diff(
        a,
        b,
        (one.score, other.score),
        paired_drop(one.score, other.score) if comparable else None,
        _layers(one, other),
        _samples(one.score, other.score) if comparable else _samples(Score(0.0), Score(0.0)),
        costs,
        _settings(one, other),
        unlike,
        (one.sim, other.sim),
    )


def _known(flow: Workflow, name: str) -> Run:
    run = flow[name]
    if name == FP32:
        raise InputError(
            "flow.diff",
            f"{FP32!r}, which is the reference itself",
            f"{flow.variable}.compare(run) shows a run's layers against FP32, {flow.variable}.summary() the rest",
        )
    return run


def _layers(a: Run, b: Run) -> pd.DataFrame:
    empty = pd.DataFrame(columns=[columns.LAYER, columns.SQNR_DB, columns.OWN_SQNR_DB])
    found = gains(*(empty if run.comparison is None else run.comparison for run in (a, b)))
    for name, run in (("precision_a", a), ("precision_b", b)):
        known = _precisions(run)
        found[name] = [known.get(layer, "") for layer in found[columns.LAYER]]
    return found


def _precisions(run: Run) -> dict[str, str]:
    """Layer to its precision, ``"w4a8"`` or ``"fp16"``, or ``"a8"`` of a layer without weights."""
    if run.sim is None:
        return {}
    found, sim = {}, run.sim
    for group in sim.groups:
        grid = sim.activation(group.key).grid
        weights, activations = tables.layer_bits(sim, group)
        integer = f"a{activations}" if pd.isna(weights) else f"w{weights}a{activations}"
        found[group.layer] = grid.name if isinstance(grid, FloatGrid) else integer
    return found


def _samples(a: Score, b: Score) -> pd.DataFrame:
    """Samples with other values, the largest difference first."""
    one, other = (np.asarray(score.per_sample or (), dtype=np.float64) for score in (a, b))
    if len(one) != len(other):
        one = other = one[:0]
    difference = (other - one) * (1.0 if a.higher_is_better else -1.0)
    at = np.argsort(-np.abs(difference), kind="stable")
    at = at[difference[at] != 0]
    change = np.where(difference[at] > 0, "better", "worse")
    return pd.DataFrame(dict(zip(columns.DIFF_SAMPLES, (at, one[at], other[at], change), strict=True)))


def _costs(flow: Workflow, a: Run, b: Run) -> tuple[pd.DataFrame, dict[str, str]]:
    """(the costs of both and their difference, columns whose difference says nothing, and why)."""
    one, other = ({**cost_row(flow, run), "seconds": run.seconds} for run in (a, b))
    rows = [(name, *row.values()) for name, row in ((a.name, one), (b.name, other))]
    rows.append((DIFFERENCE, *(other[name] - one[name] for name in one)))
    kinds = {name: "Int64" if name.endswith(("_bytes", "macs", "bops")) else float for name in columns.DIFF_COSTS[1:]}
    return pd.DataFrame(rows, columns=list(columns.DIFF_COSTS)).astype(kinds), _unlike(flow, a, b)


def _unlike(flow: Workflow, a: Run, b: Run) -> dict[str, str]:
    """Which differences say nothing; two latencies differ where the middle four fifths of their runs are apart."""
    found = {"seconds": "timed once"}
    timed = [flow.performance[run.name].latency for run in (a, b) if run.name in flow.performance]
    if len(timed) < 2 or None in timed:
        return found
    one, other = timed
    if (one.runtime, one.threads) != (other.runtime, other.threads):
        return found | {"latency_ms": "not timed alike"}
    apart = one.high_ms < other.low_ms or other.high_ms < one.low_ms
    return found if apart else found | {"latency_ms": "none measurable"}


def _settings(a: Run, b: Run) -> pd.DataFrame:
    """One row per setting that is not the same; a run that does not know it has an empty text."""
    one, other = _made_with(a), _made_with(b)
    names = [name for name in dict.fromkeys([*one, *other]) if one.get(name, "") != other.get(name, "")]
    rows = [(name, one.get(name, ""), other.get(name, "")) for name in names]
    return pd.DataFrame(rows, columns=list(columns.DIFF_SETTINGS))


def _made_with(run: Run) -> dict[str, str]:
    """What a run was made with, as text."""
    counted = Counter(_precisions(run).values())
    found = {
        "precision": run.precision,
        "precision of layers": ", ".join(f"{name} ({n})" for name, n in counted.most_common()),
        "recovery": ", then ".join(_call(r.method, r.options) for r in run.recovery),
    }
    for name, value in run.settings.items():
        if name != "recover" or not run.recovery:
            found[name.replace("_", " ")] = _text(value)
    return {name: text for name, text in found.items() if text}


def _call(method: str, options: dict[str, Any]) -> str:
    return f"{method}({_text(options)})" if options else method


def _text(value: Any) -> str:
    """A setting in a line."""
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_text(of)}" for name, of in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return str(value)
