"""What each group is predicted to lose at each of its options, by sensitivity."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from qnb.columns import LAYER
from qnb.errors import InputError
from qnb.measures.sensitivity.estimate import WAYS
from qnb.measures.sensitivity.single_quantizer import Alone
from qnb.methods.precision.candidates import Group, layer_order
from qnb.numerics import Precision
from qnb.progress import Report

if TYPE_CHECKING:
    from qnb.sim.quantsim import QuantSim

PRECISION, SCORE = "precision", "score"


def passes(candidates: Sequence[Precision]) -> list[Precision]:
    """A few of the candidates that together have every grid of weights and of activations (greedy set cover).

    >>> [p.name for p in passes([Precision.parse(n) for n in ("w8a16", "w8a8", "w4a16", "w4a8")])]
    ['w8a16', 'w4a8']
    """
    missing = {grid for p in candidates for grid in _grids(p)}
    found = []
    while missing:
        best = max(candidates, key=lambda p: len(_grids(p) & missing))
        found.append(best)
        missing -= _grids(best)
    return found


def _grids(precision: Precision) -> set[tuple]:
    return {("weights", precision.weights), ("activations", precision.activations)}


def measured_losses(
    sim: QuantSim,
    batches: Iterable,
    groups: Sequence[Group],
    candidates: Sequence[Precision],
    known: dict[str, dict[str, float]],
    *,
    estimator: str,
    options: dict,
    keep: Callable[[], None],
    progress: Report,
) -> list[np.ndarray]:
    """Per group ``[options]``: the sum of its quantizers' scores, each alone on its grid (`qnb.sensitivity`).

    One pass has one candidate in all groups; as a quantizer's score depends on its own grid only, a few passes give
    those of all candidates.

    Args:
        sim: scratch: its precisions are changed.
        known: scores by quantizer of earlier passes, by name; new ones are put in, and ``keep()`` called.
    """
    layers = [name for group in groups for name in group.layers]
    wanted = passes(candidates)
    for index, precision in enumerate(wanted):
        if precision.name not in known:
            sim.set_precision(layers, precision)
            known[precision.name] = _scores(
                sim, batches, layers, estimator, options, _numbered(progress, index, len(wanted))
            )
            keep()
    return [np.array([_loss(sim, group, option, wanted, known) for option in group.options]) for group in groups]


def _scores(
    sim: QuantSim, batches: Iterable, layers: list[str], estimator: str, options: dict, progress: Report
) -> dict[str, float]:
    alone = Alone(sim, layers, "mixed_precision")
    scores = WAYS[estimator](alone, batches, options, progress)
    # A mean of squares is not below 0; only a metric's difference can be, by chance.
    return {site.path: max(score, 0.0) for site, (score, *_) in zip(alone.sites, scores, strict=True)}


def _numbered(progress: Report, index: int, count: int):
    return lambda done, total, message: progress(done, total, f"{message}, grids {index + 1} of {count}")


def _loss(sim: QuantSim, group: Group, option: Precision, wanted: list[Precision], known: dict) -> float:
    by_weights = next(known[p.name] for p in wanted if p.weights == option.weights)
    by_activations = next(known[p.name] for p in wanted if p.activations == option.activations)
    total = sum(by_activations.get(f"activation_quantizers.{key}", 0.0) for key in group.activations)
    for key in group.weights:
        scores = by_weights if sim.plan.weights[key].grid == "weights" else by_activations
        total += scores.get(f"weight_quantizers.{key}", 0.0)
    return total


def given_losses(sim: QuantSim, groups: Sequence[Group], scores: pd.DataFrame, operation: str) -> list[np.ndarray]:
    """Per group ``[options]``: the sum over its layers of a table with columns ``layer, precision, score``.

    A layer without a row loses nothing.

    Raises:
        InputError: columns are missing, a layer is unknown, a score is below 0 or no finite number, or a precision
            has no row at all.
    """
    source = "pass columns layer, precision, score: one row per layer and candidate"
    if missing := [c for c in (LAYER, PRECISION, SCORE) if c not in scores.columns]:
        raise InputError(operation, f"a sensitivity table without {', '.join(missing)}", source)
    values = pd.to_numeric(scores[SCORE], errors="coerce").to_numpy(dtype=np.float64)  # pyright: ignore[reportCallIssue]
    if not (np.isfinite(values) & (values >= 0)).all():
        raise InputError(operation, "a sensitivity that is below 0 or not finite", source)
    if unknown := sorted(set(scores[LAYER]) - set(layer_order(sim))):
        raise InputError(operation, f"a sensitivity of {unknown[0]!r}, which is not a layer", "use sim.layers() names")
    total = scores.groupby([LAYER, PRECISION])[SCORE].sum().to_dict()
    named = {name for _, name in total}
    if absent := sorted({p.name for g in groups for p in g.options} - named):
        raise InputError(operation, f"a sensitivity table without precision {absent[0]!r}", source)
    return [
        np.array([sum(total.get((layer, p.name), 0.0) for layer in group.layers) for p in group.options])
        for group in groups
    ]
