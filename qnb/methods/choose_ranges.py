"""Choice of ranges: the calibration method of each activation, by the error at the model's outputs."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from qnb.arguments import short
from qnb.columns import LAYER
from qnb.errors import InputError, PrecisionError
from qnb.measures.layers.output_parts import OutputNoise, sqnr_db
from qnb.methods.auto import Auto, with_integer_activations
from qnb.methods.calibration.candidates import PRESENT, Candidates, free_keys, from_histogram, options
from qnb.methods.calibration.measured import Measured, gain_db, search
from qnb.methods.calibration.predicted import predicted
from qnb.methods.method import MEASURED_BATCHES, method
from qnb.methods.reporting.progress import MethodProgress
from qnb.methods.reporting.result import Found
from qnb.progress import Report
from qnb.text import decibel

if TYPE_CHECKING:
    from qnb.sim.quantsim import QuantSim

OPERATION = "qnb.methods.choose_ranges"
USUAL = ("minmax", "percentile", "sqnr", "mse")


def _fits(sim: QuantSim, given: dict) -> None:
    rules = _names(given["rules"])
    if not rules:
        raise InputError(OPERATION, "no rules", f"give some of {', '.join(USUAL)}, or leave rules out")
    for rule in rules:
        if not from_histogram(rule):
            raise InputError(OPERATION, f"rule {rule!r}, whose statistics are its own", "calibrate with it instead")
    if not free_keys(sim, given["layers"], OPERATION):
        raise PrecisionError(
            OPERATION,
            f"no activation of these layers whose integer range calibration may choose ({sim.precision.name})",
            "use a precision with integer activations, for example 'w8a8', and layers that are not frozen",
        )


def _names(rules: str | Iterable[str] | None) -> list[str]:
    if rules is not None and not isinstance(rules, Iterable):
        raise InputError(OPERATION, f"rules={short(rules)}", f"give some of {', '.join(USUAL)}")
    return [rules] if isinstance(rules, str) else list(USUAL if rules is None else rules)


@method(
    "choose_ranges",
    "Choice of ranges",
    "range",
    fits=_fits,
    auto=Auto(25, with_integer_activations, removes=(0.0, 0.3)),
)
def choose_ranges(
    sim: QuantSim,
    batches: Iterable,
    *,
    rules: str | Iterable[str] | None = None,
    layers: str | Iterable[str] | None = None,
    progress: Report | None = None,
) -> Found:
    """Choose the calibration method of each activation by what it does to the error at the model's outputs.

    A range that is best for its own tensor may clip the few large values that the outputs depend on. So choices are
    measured at the outputs, each part of a concatenation counting as much as the others. One calibration pass serves
    all rules. Each rule for all activations comes first, and the best is the start, or what the sim has. Then
    tensors change to the rule that is predicted to add the least noise, all at once, in halves, quarters and so on.
    The prediction is of first order, from backward passes with each rule's own errors. What is measured decides, on
    the first two batches, in 24 forward passes of them at most: a choice stays only if the noise falls in both. So it
    never ends with more noise than it began with.

    Args:
        sim: calibrated. Weights keep their ranges; frozen, fixed and floating-point activations stay as they are, and
            tensors that share a quantizer take one rule.
        batches: unlabelled, as the model takes them; all of them for the ranges.
        rules: names of calibration methods; None means minmax, percentile (99.9, 99.99 and 99.999), sqnr and mse.
        layers: whose outputs may change, a name, a glob or a list; None means all, inputs included.

    Returns:
        `Result`; per layer ``rule`` (empty: as it was), ``predicted_gain_db`` at the outputs by its change alone,
        ``measured_gain_db`` of the step that changed it, and how many tensors that step changed (``together``).
        ``tables["inputs"]`` has the inputs, the history each choice that was measured.

    Raises:
        PrecisionError: no activation on an integer grid that calibration may change. InputError: a rule that there is
        not, or that needs statistics of its own; outputs that are not floating-point numbers.

    >>> import torch, qnb
    >>> model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 4)).eval()
    >>> data = [torch.randn(64, 8) for _ in range(3)]
    >>> sim = qnb.QuantSim(model, data[0], "w8a4").calibrate(data)
    >>> result = qnb.methods.choose_ranges(sim, data)
    >>> result.output_after_db >= result.output_before_db
    True
    """
    progress = MethodProgress.of(progress)
    first = list(islice(batches, MEASURED_BATCHES))
    noises = [OutputNoise(sim, [batch]) for batch in first]
    candidates = Candidates(sim, free_keys(sim, layers, OPERATION), options(_names(rules)), batches, progress)
    measured = Measured(sim, noises, candidates, progress)
    _start(measured)
    parts = noises[0].parts
    tick = lambda: progress(measured.passes, None, "predicting choices of ranges")  # noqa: E731
    measured.trial.own_tensors()
    noise = predicted(measured.trial, candidates, parts, first, tick)
    if noise is not None:
        search(measured, noise)
    chosen = {key: number for key, number in measured.best.items() if number != PRESENT}
    candidates.put(sim, chosen)
    notes = [
        f"Noise at the outputs, parts alike: {decibel(sqnr_db(measured.first))} → {decibel(sqnr_db(measured.noise))}, "
        f"in {measured.passes} forward passes of {len(first)} batches."
    ]
    if noise is None:
        notes.append("The model has no gradient, so each rule was tried for all activations only.")
    table = _table(sim, measured, noise)
    return Found(
        table, progress.history(), tuple(notes), {"inputs": table[~table.layer.isin([g.layer for g in sim.groups])]}
    )


def _start(measured: Measured) -> None:
    """Each rule for all; of those that help the one with the least noise."""
    candidates = measured.candidates
    for number in range(1, len(candidates.states)):
        choice = dict.fromkeys(candidates.keys, number)
        measured.attempt(choice, f"{candidates.title(number)} for all")


def _table(sim: QuantSim, measured: Measured, noise: dict[str, np.ndarray] | None) -> pd.DataFrame:
    """One row per layer whose activation was free to change; of inputs too."""
    rows, present = [], float(measured.first.mean())
    for key, number in measured.best.items():
        of_key = None if noise is None else noise[key]
        predicted_db = float("nan") if of_key is None else gain_db(present, of_key[number] - of_key[PRESENT])
        figures = (predicted_db, measured.gain_db.get(key, 0.0), measured.together.get(key, 0))
        rule = "" if number == PRESENT else measured.candidates.title(number)
        layers = dict.fromkeys([sim.plan.activations[key].layer, *(g.layer for g in sim.groups if g.key == key)])
        rows += [(layer, rule, *figures) for layer in layers]
    return pd.DataFrame(rows, columns=[LAYER, "rule", "predicted_gain_db", "measured_gain_db", "together"])
