"""The step that is to be settled before anything lower: it fails or is unclear, and nothing lower passes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qnb.columns import CONTROL
from qnb.targets import runs as target_runs
from qnb.text import amount, decibel
from qnb.workflow.guidance import stages
from qnb.workflow.guidance.situation import Situation, label, order, rank
from qnb.workflow.precisions import above, answers, bits, is_float, lower, nameable, place
from qnb.workflow.verdict import PASS, UNCLEAR, deciding_samples

if TYPE_CHECKING:
    from qnb.workflow.run import Run
    from qnb.workflow.workflow import Workflow

SEARCH, TRAIN = "mixed_precision", "train"


@dataclass(frozen=True)
class OpenStep:
    """All runs of one precision, none of which passes.

    Args:
        base: the run to start a recovery from, the plain one.
        closest: the run that comes closest to passing, recovered ones among them.
    """

    precision: str
    runs: tuple
    base: Any
    closest: Any

    @property
    def tried(self) -> set[str]:
        """Recovery methods that were tried, alone or by the recipe "auto"."""
        found = {"auto"} if any(run.attempts is not None for run in self.runs) else set()
        for run in self.runs:
            found |= {step["method"] for step in run.settings.get("recover", ())}
            if run.attempts is not None:
                found |= {name for tried in run.attempts.tried for name in str(tried).split(" + ")}
        return found


def find(runs: dict) -> OpenStep | None:
    """The highest precision that is open; a step is settled where it passes, or a lower one does.

    FP16 and integers are separate: FP16 is settled before the first integer run, and not afterwards.
    """
    groups: dict[str, list] = {}
    for run in runs.values():
        if run.precision != CONTROL or stages.is_control(run):
            groups.setdefault(run.precision, []).append(run)
    passing = [run.precision for run in runs.values() if run.verdict.status == PASS]
    integer = any(not is_float(precision) for precision in groups)
    found = [p for p in groups if not any(answers(q, p) for q in passing) and not (integer and is_float(p))]
    if not found:
        return None
    precision = min(found, key=place)
    group = groups[precision]
    plain = [r for r in group if not r.settings.get("recover")]
    unmixed = [r for r in plain if not r.settings.get("layers")]
    return OpenStep(precision, tuple(group), (unmixed or plain or group)[0], min(group, key=rank))


def read(flow: Workflow, runs: dict, step: OpenStep | None) -> Situation:
    """What is known of the open step, and what can be done about it."""
    if step is None:
        return Situation()
    kind = "float" if is_float(step.precision) else "control" if step.precision == CONTROL else "integer"
    run = step.closest
    loss = (
        f"{label(run.name)} loses {amount(run.drop.value)} where {amount(flow.tolerance)} is allowed"
        if run.drop
        else f"{label(run.name)} {run.verdict.text}"
    )
    layer, own_db = run.weakest_layer or ("", float("nan"))
    found = Situation(
        {"open": kind, "state": run.verdict.status, "layer": "some" if layer else "none"},
        {
            "open": label(step.precision),
            "loss": loss,
            "closest": label(run.name),
            "layer": layer,
            "own": decibel(own_db),
            "verdict": run.verdict.text,
        },
        {"closest": run.name, "layer": layer},
    )
    if run.verdict.status == UNCLEAR:
        found |= _decision(flow, run)
    if kind == "integer":
        return found | _integer(flow, runs, step)
    return found | _float(flow, step) if kind == "float" else found


def _decision(flow: Workflow, run: Run) -> Situation:
    """What would decide an unclear run."""
    n, drop = run.score.n, run.drop
    wanted = None if drop is None else deciding_samples(drop, n, flow.tolerance)
    if n is None or drop is None or drop.low != drop.low:
        return Situation({"decide": "score"})
    words = {
        "now": f"{n:,}",
        "wanted": f"{wanted:,}" if wanted else "",
        "high": amount(drop.high),
        "interval": f"{amount(drop.low)} to {amount(drop.high)}",
        "or_samples": f"; as it is, about {wanted:,} samples would decide" if wanted else "",
    }
    decide = "pairs" if not drop.paired else "samples" if wanted else "close"
    return Situation({"decide": decide}, words)


def _float(flow: Workflow, step: OpenStep) -> Situation:
    """Layers whose values overflow can stay in FP32."""
    layers = list(dict.fromkeys(layer for run in step.runs for layer in run.overflowing))
    if not layers:
        return Situation()
    mixed = any(run.settings.get("layers") for run in step.runs)
    kept = order(
        flow, f"{step.precision}+{len(layers)}", precision=step.precision, layers=dict.fromkeys(layers, "fp32")
    )
    named = ", ".join(layers[:3]) + (f" and {len(layers) - 3} more" if len(layers) > 3 else "")
    return Situation(
        {"overflow": "kept" if mixed or not target_runs(flow.target, "fp32") else "some"},
        {"overflowing": named},
        {},
        {"float": kept},
    )


def _integer(flow: Workflow, runs: dict, step: OpenStep) -> Situation:
    base, tried = step.base, step.tried
    if f"{base.name}+auto" in flow.runs:
        tried = tried | {"auto"}
    methods = {"auto": "auto", "search": SEARCH, "train": TRAIN}
    facts = {fact: "tried" if method in tried else "open" for fact, method in methods.items()}
    facts["causes"] = "known" if step.closest.name in flow.diagnoses else "none"
    words = {"base": label(base.name), "blame": _blame(runs, step.precision)}
    orders = {what: {"run": base.name, "methods": what} for what in methods.values()}
    found = Situation(facts, words, {"base": base.name}, orders)
    if (higher := _above(runs, step.precision)) is not None:
        asks = (
            "16-bit quantization must agree with FP32 before fewer bits are judged"
            if higher == CONTROL
            else "it tells whether weights or activations cause the loss"
        )
        found |= Situation(
            {"above": "missing"},
            {"above": label(higher), "above_asks": asks},
            {},
            {"above": order(flow, higher, precision=higher)},
        )
    return found | _more_bits(flow, step)


def _above(runs: dict, precision: str) -> str | None:
    """The step of the ladder to run before an open one is recovered: the one just above, or the baseline where nothing
    quantized passes."""
    done = {run.precision for run in runs.values()}
    passing = [run.precision for run in runs.values() if run.verdict.status == PASS]
    if precision != CONTROL and CONTROL not in done and all(map(is_float, passing)):
        return CONTROL
    step = above(precision)
    return None if step in (None, *done) or any(answers(p, step) for p in passing) else step


def _blame(runs: dict, precision: str) -> str:
    """Weights or activations? From the integer runs with more bits that pass."""
    weights, activations = bits(precision)
    passing = [run.precision for run in runs.values() if run.verdict.status == PASS and not is_float(run.precision)]
    higher = sorted((p for p in passing if lower(precision, p)), key=place, reverse=True)
    of_weights = any(bits(p)[1] == activations for p in higher)
    of_activations = any(bits(p)[0] == weights for p in higher)
    causes = [f"{weights}-bit weights"] * of_weights + [f"{activations}-bit activations"] * of_activations
    if not higher:
        return ""
    passes = f"{label(higher[0])} passes"
    return f" and {passes}: {' and '.join(causes)} cause the loss" if causes else f" and {passes}"


def _more_bits(flow: Workflow, step: OpenStep) -> Situation:
    """The layer that loses most by itself, at more bits."""
    wider = "w8a16" if lower(step.precision, "w8a16") else CONTROL
    worst, mixed = step.base.weakest_layer, any(run.settings.get("layers") for run in step.runs)
    if worst is None or mixed or not nameable(step.precision) or not target_runs(flow.target, wider):
        return Situation()
    layer, own_db = worst
    wanted = order(flow, f"{step.precision}+1", precision=step.precision, layers={layer: wider})
    return Situation(
        {"bits": "open"}, {"weakest": layer, "weakest_db": decibel(own_db), "wider": label(wider)}, {}, {"bits": wanted}
    )
