"""Which quantizers cost the accuracy: each one alone, all others off."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

import pandas as pd

from qnb import columns
from qnb.arguments import whole
from qnb.errors import CalibrationError, InputError
from qnb.graph.batches import length, reiterable
from qnb.measures.metrics.evaluation import score_of
from qnb.measures.metrics.score import paired_drop
from qnb.measures.sensitivity.exact_noise import ExactNoise
from qnb.measures.sensitivity.fisher import Fisher
from qnb.measures.sensitivity.single_quantizer import Alone
from qnb.measures.sensitivity.trial import check_plain
from qnb.measures.sensitivity.trials import Trial, check_executor, evaluate_trials
from qnb.progress import Report
from qnb.randomness import Seeded
from qnb.registry import Registry
from qnb.sim.quantizer_state import QuantizerState, quantizer_modules

if TYPE_CHECKING:
    from qnb.sim.quantsim import QuantSim

WAYS: Registry[Callable] = Registry("way to measure sensitivity")
"""Name -> ``way(alone, batches, options, report)``, which gives (score, low, high) of each of ``alone.sites``."""
_OPERATION = "qnb.sensitivity"
Scores = list[tuple[float, float, float]]


def sensitivity(
    sim: QuantSim,
    batches: Iterable | None = None,
    *,
    estimator: str = "fisher",
    evaluate: Callable | None = None,
    loss: str | Callable | None = None,
    executor: Executor | None = None,
    layers: str | Iterable[str] | None = None,
    seed: int = 0,
    progress: Report | None = None,
) -> pd.DataFrame:
    """How much each active quantizer costs when it is the only one on; the most sensitive first.

    Args:
        sim: a calibrated QuantSim; it is not changed.
        batches: re-iterable, as the model takes them; a few hundred samples. ``"evaluate"`` needs none.
        estimator: ``"fisher"``: the Kullback-Leibler divergence between the predictions of FP32 and of this quantizer
            alone, in nats per prediction, to second order, for all quantizers from one forward and one backward pass
            of each batch. For outputs that are not logits: half the noise-to-signal ratio.
            ``"sqnr"``: the noise-to-signal ratio at the outputs, exactly; ``-10 log10(score)`` is the SQNR in dB. What
            is behind a quantizer is computed again for each.
            ``"evaluate"``: how much worse the metric becomes, in its units; one evaluation for each quantizer.
        evaluate: for ``"evaluate"``: ``evaluate(model) -> float`` or `qnb.Score`; with values per sample, intervals
            are those of differences sample by sample.
        loss: for ``"fisher"``: ``"softmax"`` (logits) or ``"squares"`` say what the outputs are where it is not seen
            from their form (see `likelihood.families`); or a function ``loss(output, target)``, best one
            value per sample, whose gradient is taken instead: then batches are ``(inputs, target)``.
        executor: for ``"evaluate"``: workers, see `evaluate_trials`.
        layers: a name, a glob or a list of them; None means all.
        seed: of random numbers; the caller's generators are left alone.
        progress: ``progress(done, total, message)``; what it raises stops the work.

    Returns:
        One row per quantizer, columns `qnb.columns.SENSITIVITY`: tied ones once, under the first layer; biases count
        with their weights. ``low`` and ``high``: 95 % intervals over samples, NaN where there are fewer than two.

    Raises:
        InputError: arguments or batches that do not fit, an exact simulation, a model without gradients (fisher).
        CalibrationError: the sim is not calibrated. PrecisionError: no quantizer is on.
        EvaluateError: evaluate or loss raised.

    >>> import torch, qnb
    >>> model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 4)).eval()
    >>> batches = [torch.randn(16, 8)]
    >>> sim = qnb.QuantSim(model, batches[0], "w3a8").calibrate(batches)
    >>> qnb.sensitivity(sim, batches).kind.head(2).tolist()
    ['weight', 'weight']
    """
    way = WAYS[estimator]
    check_plain(sim, _OPERATION)
    if not sim.calibrated:
        raise CalibrationError(_OPERATION, "the sim is not calibrated", "call sim.calibrate(batches) first")
    _check(estimator, evaluate=evaluate, loss=loss, executor=executor)
    check_executor(executor, _OPERATION)
    whole(_OPERATION, "seed", seed, None)
    if estimator != "evaluate":
        if batches is None:
            raise InputError(_OPERATION, f"no batches with estimator={estimator!r}", "pass a list of batches")
        batches = Seeded(reiterable(batches, _OPERATION), seed)
    alone = Alone(sim.snapshot(), layers, _OPERATION)
    options = {"evaluate": evaluate, "loss": loss, "executor": executor, "seed": seed}
    scores = way(alone, batches, options, progress or (lambda *_: None))
    rows = [(s.layer, s.kind, *score) for s, score in zip(alone.sites, scores, strict=True)]
    frame = pd.DataFrame(rows, columns=list(columns.SENSITIVITY))
    frame = frame.sort_values("score", ascending=False, kind="stable", ignore_index=True)
    frame.attrs["estimator"] = estimator
    return frame


def _check(estimator: str, **options) -> None:
    """Options of another estimator are a mistake."""
    takes = {"fisher": {"loss"}, "evaluate": {"evaluate", "executor"}}.get(estimator, set())
    wrong = [name for name, value in options.items() if value is not None and name not in takes]
    if wrong:
        raise InputError(_OPERATION, f"{wrong[0]}= with estimator={estimator!r}", f"leave {wrong[0]}= out")
    if estimator == "evaluate" and options["evaluate"] is None:
        raise InputError(_OPERATION, "estimator='evaluate' without evaluate=", "pass evaluate=your_function")


def _over_batches(measure: Callable[..., Any], alone: Alone, batches: Iterable, report: Report) -> Scores:
    """Let ``measure(tick)`` take the batches, one after the other."""
    count, done = length(batches), 0

    def tick(step: int) -> None:
        total = None if count is None else count * found.steps
        report(done * found.steps + step, total, "measuring sensitivity")

    found = measure(tick)
    for batch in batches:
        tick(0)
        found.batch(batch)
        done += 1
    tick(0)
    if not done:
        raise InputError(_OPERATION, "the loader gave no batch", "pass at least one batch")
    ratios = [found.ratios[site.path] for site in alone.sites]
    return [(ratio.value(), *ratio.interval()) for ratio in ratios]


@WAYS.register("fisher")
def _fisher(alone: Alone, batches: Iterable, options: dict[str, Any], report: Report) -> Scores:
    measure = lambda tick: Fisher(alone, options["loss"], options["seed"], tick, _OPERATION)  # noqa: E731
    return _over_batches(measure, alone, batches, report)


@WAYS.register("sqnr")
def _sqnr(alone: Alone, batches: Iterable, options: dict[str, Any], report: Report) -> Scores:
    return _over_batches(lambda tick: ExactNoise(alone, tick, _OPERATION), alone, batches, report)


@WAYS.register("evaluate")
def _evaluate(alone: Alone, batches: Iterable, options: dict[str, Any], report: Report) -> Scores:
    """Against the FP32 reference, from the same seed; biases, whose scale needs their input's, stay in FP32."""
    off = alone.sim.copy()
    for quantizer in off.quantizers():
        quantizer.enabled = False
    modules = quantizer_modules(alone.sim)
    trials = [
        Trial(f"{site.layer}, {site.kind}", {site.path: QuantizerState.of(modules[site.path]).plain()})
        for site in alone.sites
    ]
    message, total = "evaluating one quantizer at a time", len(trials) + 1
    reference = score_of(
        options["evaluate"], alone.sim.reference_model, "FP32", lambda _: report(0, total, message), options["seed"]
    )
    scores = evaluate_trials(
        off,
        trials,
        options["evaluate"],
        executor=options["executor"],
        seed=options["seed"],
        progress=lambda done, _, said: report(done + 1, total, said),
        message=message,
    )
    drops = [paired_drop(reference, score) for score in scores]
    return [(drop.value, drop.low, drop.high) for drop in drops]
