"""Where a workflow stands: reads it into a `Situation`, changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qnb.columns import CONTROL
from qnb.targets import runs as target_runs
from qnb.text import amount, decibel, size
from qnb.workflow.guidance import open_step, stages
from qnb.workflow.guidance.next_step import FOLDER
from qnb.workflow.guidance.situation import Situation, free, label, order, rank
from qnb.workflow.precisions import LADDER, answers, is_float, lower, nameable
from qnb.workflow.verdict import AGREES_DB, FAIL, PASS, REFERENCE, agrees, first_parting

if TYPE_CHECKING:
    from qnb.workflow.deployment.result import Deployment
    from qnb.workflow.guidance.open_step import OpenStep
    from qnb.workflow.run import Run
    from qnb.workflow.workflow import Workflow

ASKS = {
    "fp16": "Half the size without quantization; if it is fast enough on the target, you are done",
    CONTROL: "The baseline: 16-bit quantization must agree with FP32 before fewer bits are judged",
    "w8a16": "8-bit weights quarter the size; activations keep 16 bits",
    "w8a8": "Integer units are fastest with 8-bit activations",
    "w4a8": "4-bit weights halve the size again",
}
"""Why each step of the ladder."""
WIDER = "w8a16"
"""What a layer gets where a runtime computes it differently at 8 bits."""


def read(flow: Workflow) -> Situation:
    """Of a workflow as it is now."""
    runs = {name: run for name, run in flow.runs.items() if run.verdict.status != REFERENCE}
    step = open_step.find(runs)
    rest = _rest(flow, runs, step)
    return (
        _beginning(flow, runs)
        | _control(flow, runs)
        | _proposal(flow)
        | open_step.read(flow, runs, step)
        | _following(flow, rest)
        | _ship(flow, finished=step is None and rest is None)
    )


def _beginning(flow: Workflow, runs: dict) -> Situation:
    found = flow.check_result
    check = ("pass" if found.ok else FAIL) if found is not None else "skipped" if runs else "missing"
    words = {"tolerance": amount(flow.tolerance), "target": flow.target.name}
    if check == FAIL:
        text = "; ".join(f.text for f in found.issues if f.tone == "bad")
        words["found"] = text[:1].upper() + text[1:]
    road = "integer" if any(not is_float(r.precision) for r in runs.values()) else "float" if runs else "none"
    return Situation({"check": check, "road": road}, words)


def _control(flow: Workflow, runs: dict) -> Situation:
    """The baseline, the best of several; which of its two tests failed."""
    controls = [run for run in runs.values() if stages.is_control(run)]
    if not controls:
        return Situation()
    run = min(reversed(controls), key=lambda r: rank(r)[0])
    fits = target_runs(flow.target, CONTROL) and run.name not in flow.deployments
    found = Situation(
        {"control": run.verdict.status, "control_ships": "yes" if fits else "no"},
        {"control": label(run.name)},
        {"control": run.name},
        {"ship_control": {"run": run.name, "folder": FOLDER}},
    )
    return found | _failed(flow, controls, run) if run.verdict.status == FAIL else found


def _failed(flow: Workflow, controls: list, run: Run) -> Situation:
    """A baseline that fails: at the output, or in the metric alone."""
    rules = [r.settings.get("calibration_method") or flow.calibration_method for r in controls]
    layer, own_db = _diverges(run)
    facts = {
        "control": "metric" if agrees(run.output_sqnr_db) else "output",
        "diverges": "some" if layer else "none",
        "ranges": "full" if "minmax" in rules else "cut",
    }
    words = {
        "control_db": decibel(run.output_sqnr_db),
        "control_loss": amount(run.drop.value) if run.drop else "more",
        "least_db": f"{AGREES_DB:.0f}",
        "rule": rules[-1],
        "diverges": f"{layer} ({decibel(own_db)} on its own)",
    }
    again = {"precision": CONTROL, "name": free(flow, f"{CONTROL} minmax"), "calibration_method": "minmax"}
    return Situation(facts, words, {"diverges": layer}, {"control": again})


def _diverges(run: Run) -> tuple[str, float]:
    """Where a baseline first diverges from FP32, or else its weakest layer; and that layer's own SQNR."""
    if run.comparison is None or run.comparison.empty:
        return "", float("nan")
    layer = first_parting(run.comparison)
    if layer is None:
        return run.weakest_layer  # pyright: ignore[reportReturnType]
    own = run.comparison.own_sqnr_db[run.comparison.layer == layer]
    return layer, float(own.iloc[0])


def _proposal(flow: Workflow) -> Situation:
    """A recovered run that is neither kept nor discarded yet."""
    made = flow.proposal
    if made is None or flow.runs.get(made.name) is made:
        return Situation()
    before = flow.runs.get(made.settings.get("from", ""))
    better = before is None or rank(made) < rank(before)
    words = {
        "proposal": made.name,
        "proposal_says": made.verdict.text,
        "compared": f", better than {before.name}" if before and better else "",
    }
    return Situation({"proposal": "better" if better else "worse"}, words)


def _rest(flow: Workflow, runs: dict, step: OpenStep | None) -> str | None:
    """The first step of the ladder that was not run, to which no passing run is the answer already, and that is not
    lower than one that is open."""
    done = {run.precision for run in runs.values()}
    passing = [
        run.precision
        for run in runs.values()
        if run.verdict.status == PASS and not (step is not None and stages.is_control(run))
    ]
    for precision in LADDER:
        new = precision not in done and (precision == CONTROL or target_runs(flow.target, precision))
        answered = any(answers(passed, precision) for passed in passing)
        if new and not answered and not (step is not None and lower(precision, step.precision)):
            return precision
    return None


def _following(flow: Workflow, rest: str | None) -> Situation:
    if rest is None:
        return Situation()
    orders = {"rest": order(flow, rest, precision=rest)}
    return Situation({"rest": "some"}, {"rest": label(rest), "asks": ASKS[rest]}, {}, orders)


def _ship(flow: Workflow, finished: bool) -> Situation:
    """The best run and its deployment."""
    failed = [
        run
        for run in flow.runs.values()
        if run.verdict.status == PASS
        and stages.is_control(run)
        and run.name in flow.deployments
        and flow.deployments[run.name].failure
    ]
    best = stages.best(flow) or next(iter(failed), None)
    if best is None:
        return Situation({"finished": "yes" if finished else "no"})
    deployed = flow.deployments.get(best.name)
    words = {"best": label(best.name), "best_size": size(best.size_bytes), "best_says": best.verdict.text}
    orders = {"ship": {"run": best.name, "folder": FOLDER}}
    found = Situation({"finished": "yes" if finished else "no"}, words, {"best": best.name}, orders)
    if deployed is None:
        return found | Situation({"ship": "new"})
    state, words["on_target"] = stages.on_target(deployed, flow.tolerance)
    if deployed.failure:
        return found | _fails(flow, best, deployed)
    return found | Situation(
        {"ship": "nowhere" if deployed.primary_runtime is None else "agrees" if state == PASS else "differs"}
    )


def _fails(flow: Workflow, best: Run, deployed: Deployment) -> Situation:
    """The best run is refused on the target, or computed differently: what else could be shipped."""
    means = (
        "Rounding does not explain the difference, so what was measured here does not hold on the target"
        if deployed.disagreeing
        else "Nothing is known of its accuracy on the target"
    )
    return Situation({"ship": "fails"}, {"ship_means": means}) | _instead(flow, best) | _widened(flow, best, deployed)


def _instead(flow: Workflow, best: Run) -> Situation:
    """The smallest of the other runs that pass, unless it was deployed and does not agree either."""
    found = {name: stages.on_target(d, flow.tolerance) for name, d in flow.deployments.items()}
    others = [
        run
        for run in flow.runs.values()
        if run is not best
        and found.get(run.name, (PASS,))[0] == PASS
        and (not nameable(run.precision) or target_runs(flow.target, run.precision))
    ]
    run = stages.smallest(others)
    if run is None:
        return Situation()
    words = {
        "instead": label(run.name),
        "instead_size": size(run.size_bytes),
        "instead_says": run.verdict.text,
        "instead_on_target": found.get(run.name, ("", ""))[1],
    }
    return Situation(
        {"instead": "agrees" if run.name in found else "new"},
        words,
        {"instead": run.name},
        {"instead": {"run": run.name, "folder": FOLDER}},
    )


def _widened(flow: Workflow, best: Run, deployed: Deployment) -> Situation:
    """The best run again, with 16-bit activations at the layer where a runtime begins to disagree."""
    found = deployed.disagreeing.disagreement if deployed.disagreeing else None
    layers = best.settings.get("layers", {})
    known = best.comparison is not None and found is not None and found.layer in set(best.comparison.layer)
    plain = nameable(best.precision) and not best.settings.get("recover") and best.attempts is None
    if not (known and plain and lower(best.precision, WIDER) and target_runs(flow.target, WIDER)):
        return Situation()
    layers = {**layers, found.layer: WIDER}
    if any(r.precision == best.precision and r.settings.get("layers", {}) == layers for r in flow.runs.values()):
        return Situation()
    wanted = order(flow, f"{best.precision}+{len(layers)}", precision=best.precision, layers=layers)
    return Situation({"widen": "open"}, {"begins": found.layer, "begins_wider": label(WIDER)}, {}, {"widen": wanted})
