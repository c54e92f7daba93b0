"""What to do next: a decision table, read from the top down, over the facts of `qnb.workflow.guidance.situation`.

The order of steps is AIMET's quantization workflow. A step that fails or is unclear is settled before anything lower
is proposed; what was done is not proposed again; the last step is the device. `docs/next-steps.md` shows the usual
situations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qnb.workflow.guidance import standing
from qnb.workflow.guidance.next_step import NextStep, deploy_code, literal, recover_code, run_code
from qnb.workflow.guidance.situation import Situation

if TYPE_CHECKING:
    from qnb.workflow.workflow import Workflow

FACTS: dict[str, tuple[str, ...]] = {
    "check": ("missing", "skipped", "pass", "fail"),
    "control": ("none", "pass", "unclear", "output", "metric"),  # the last two: which of its tests failed
    "ranges": ("full", "cut"),  # whether the baseline's calibration method may clip values
    "diverges": ("none", "some"),
    "control_ships": ("no", "yes"),  # the target runs W16A16, and it was not deployed
    "proposal": ("none", "better", "worse"),
    "road": ("none", "float", "integer"),  # what was run beside FP32
    "open": ("none", "float", "control", "integer"),  # the step that is to be settled
    "state": ("none", "fail", "unclear"),  # of that step
    "decide": ("none", "samples", "pairs", "score", "close"),  # what would decide an unclear one
    "layer": ("none", "some"),
    "overflow": ("none", "some", "kept"),
    "above": ("none", "missing"),  # the step to run before the open one is recovered
    "auto": ("none", "open", "tried"), "search": ("none", "open", "tried"), "train": ("none", "open", "tried"),
    "bits": ("none", "open"),
    "causes": ("none", "known"),  # whether the run that comes closest was diagnosed
    "rest": ("none", "some"),  # of the ladder
    "ship": ("none", "new", "agrees", "differs", "nowhere", "fails"),  # the best run, and its deployment
    "instead": ("none", "new", "agrees"),  # where that fails: the next best, and its deployment
    "widen": ("none", "open"),  # whether the layer where that begins can have more bits
    "finished": ("no", "yes"),  # nothing is open and nothing is left on the ladder
}  # fmt: skip
"""Every fact with its possible values."""


@dataclass(frozen=True)
class Row:
    """What to do, why and how, where all facts have the values of ``when``.

    Args:
        when: fact to value, or to the values of which one must be so.
        title, reason: with the situation's words.
        run, recover, deploy: the order that it is, of the situation's orders.
        code: where it is none of these: Python with the situation's names as literals, ``{flow}`` the workflow.
        last: nothing below this row is proposed.
    """

    when: Mapping[str, str | tuple[str, ...]]
    title: str
    reason: str
    run: str = ""
    recover: str = ""
    deploy: str = ""
    code: str = ""
    last: bool = False

    def holds(self, facts: Mapping[str, str]) -> bool:
        return all(facts.get(name, "none") in ((asked,) if isinstance(asked, str) else asked)
                   for name, asked in self.when.items())  # fmt: skip

    def next_step(self, found: Situation, variable: str) -> NextStep:
        title, reason = self.title.format_map(found.words), self.reason.format_map(found.words)
        if self.run:
            order = found.orders[self.run]
            return NextStep(title, reason, run_code(variable, order), run=order)
        if self.recover:
            order = found.orders[self.recover]
            return NextStep(title, reason, recover_code(variable, order["run"], (order["methods"],)), recover=order)
        if self.deploy:
            order = found.orders[self.deploy]
            return NextStep(title, reason, deploy_code(variable, order), deploy=order)
        return NextStep(
            title, reason, self.code.format(flow=variable, **{k: literal(v) for k, v in found.names.items()})
        )


COMMANDS, LOOK = "print({flow}.deployments[{best}].commands)", "{flow}.deploy_panel({best})"
OPEN, SMALLER = {"open": "integer"}, {"open": "integer", "auto": "tried"}
"""An integer step to settle; and one that recovery did not settle."""
NO_FAILURE = tuple(ship for ship in FACTS["ship"] if ship != "fails")
"""What the target refuses or computes differently is settled before anything lower is proposed."""

ROWS = (
    # Before any numbers
    Row({"check": "missing", "road": "none"}, "Check the model",
        "Before any numbers: does it export, and what is in it?", code="{flow}.check()", last=True),
    Row({"check": "fail"}, "Fix what the check found", "{found}. Then check again", code="{flow}.check()", last=True),

    # The baseline: no lower precision can be judged before it agrees
    Row({"control": "output", "ranges": "cut"}, "Fix the W16A16 baseline first",
        "Calibrate it by min-max. {control} should equal FP32, and its output is at {control_db}; it is calibrated by "
        "{rule}, which may clip values; min-max clips none", run="control"),
    Row({"control": "output", "diverges": "some"}, "Fix the W16A16 baseline first",
        "Look where it first diverges, at {diverges}. {control} should equal FP32, and its output is at {control_db}: "
        "below {least_db} dB the placement or the model is at fault",
        code="{flow}.layer({control}, {diverges})", last=True),
    Row({"control": "output"}, "Fix the W16A16 baseline first",
        "{control} should equal FP32, and its output is at {control_db}: below {least_db} dB the placement or the "
        "model is at fault", last=True),
    Row({"control": "metric", "ranges": "cut"}, "Fix the W16A16 baseline first",
        "Calibrate it by min-max. {control} agrees with FP32 on the calibration data ({control_db} at the output), but "
        "its metric loses {control_loss} where {tolerance} is allowed; it is calibrated by {rule}, which may clip "
        "values; min-max clips none", run="control"),
    Row({"control": "metric"}, "Fix the W16A16 baseline first",
        "Calibrate on data like the evaluation's: make the Workflow again with calibration data that was prepared in "
        "the same way. {control} agrees with FP32 on the calibration data ({control_db} at the output), but its metric "
        "loses {control_loss} where {tolerance} is allowed: evaluation sees values that calibration did not",
        last=True),

    # A recovery that waits for an answer
    Row({"proposal": "better"}, "Keep the proposal", "{proposal} {proposal_says}{compared}",
        code="{flow}.keep()"),
    Row({"proposal": ("better", "worse")}, "Discard the proposal",
        "{proposal} {proposal_says}. The runs stay as they are", code="{flow}.discard()", last=True),

    # A deployment that the target refuses, or computes differently: what was measured does not hold there
    Row({"ship": "fails"}, "Do not ship {best}", "{on_target}. {ship_means}", code=LOOK),
    Row({"ship": "fails", "instead": "agrees"}, "Run {instead} on the device instead",
        "{instead_on_target}. These commands take the files to the device",
        code="print({flow}.deployments[{instead}].commands)"),
    Row({"ship": "fails", "instead": "new"}, "Deploy {instead} instead",
        "The next best run that passes: {instead_size}, {instead_says}", deploy="instead"),
    Row({"ship": "fails", "widen": "open"}, "Give layer {begins} more bits",
        "{best} disagrees from there on; with {begins_wider} there it may agree. Then deploy that run",
        run="widen"),

    # FP16 may be enough
    Row({"road": "float", "ship": "new"}, "Measure {best} latency",
        "{best} passes at {best_size}, {best_says}. If size and latency are enough, stop here. This writes the "
        "files to measure on {target}", deploy="ship"),
    Row({"road": "float", "ship": "agrees"}, "Measure {best} latency on the device",
        "{on_target}. If size and latency are enough, stop here", code=COMMANDS),

    # Unclear: more samples, or more of each
    Row({"decide": "score"}, "Return qnb.Score with per_sample",
        "{closest} is unclear, and without n its drop has no interval. qnb.Score(value, per_sample=...) from "
        "evaluate lets runs be compared sample by sample"),
    Row({"decide": "pairs"}, "Compare sample by sample",
        "{loss} (95 % interval {interval}), from two separate sets of {now} samples as far as qnb knows. "
        "qnb.Score(value, per_sample=...), of the same samples each time, narrows the interval{or_samples}"),
    Row({"decide": "samples"}, "Evaluate about {wanted} samples",
        "{loss}, too close to call with {now} samples (95 % interval {interval}). About {wanted} would decide it, "
        "if the drop stays the same"),

    # FP16 that fails: the integers need not
    Row({"open": "float", "state": "fail", "overflow": "some"}, "Keep FP16 out of the layers that overflow",
        "Values beyond 65,504 in {overflowing}; the other layers can stay in {open}", run="float"),
    Row({"open": "float", "state": "fail", "layer": "some"}, "Look at the layer that {open} harms most",
        "{loss}; {layer} is at {own} on its own", code="{flow}.layer({closest}, {layer})"),

    # An integer step that does not pass
    Row({**OPEN, "above": "missing"}, "Run {above}",
        "{loss}. Before it is recovered: {above_asks}", run="above"),
    Row({**OPEN, "state": "fail", "auto": "open"}, "Recover {base}",
        "{loss}{blame}. Try recovery methods, the most promising first", recover="auto"),
    Row({**OPEN, "state": "unclear", "auto": "open"}, "Recover {base}",
        "{loss}, and that is too close to call. Recovery methods, the most promising first, may bring it well within "
        "the tolerance", recover="auto"),
    Row({"decide": "close"}, "Accept {closest} or recover it",
        "{loss}: too close to call, as no realistic number of samples tells the two apart. If a drop of up to {high} "
        "will do, make the Workflow with that tolerance"),

    # The next step down
    Row({"open": ("none", "float", "control"), "rest": "some", "ship": NO_FAILURE}, "Run {rest}", "{asks}",
        run="rest"),

    # The best that passes, on the target
    Row({"road": "integer", "ship": "new", "open": "none", "rest": "some"}, "Deploy {best}",
        "The best so far: {best_size}, {best_says}. If that is enough, stop here", deploy="ship"),
    Row({"road": "integer", "ship": "new", "open": ("control", "integer")}, "Deploy {best}",
        "The best run that passes: {best_size}, {best_says}", deploy="ship"),
    Row({"finished": "yes", "ship": "new"}, "Deploy {best}",
        "Nothing is left on the ladder, and this is the best run that passes: {best_size}, {best_says}", deploy="ship"),
    Row({"finished": "yes", "ship": "agrees"}, "Done here: run {best} on the device",
        "Nothing is left to do on this machine. {on_target}. These commands take the files to the device",
        code=COMMANDS),
    Row({"finished": "no", "road": "integer", "ship": "agrees"}, "Run {best} on the device",
        "{on_target}. These commands take the files to the device", code=COMMANDS),
    Row({"ship": "differs"}, "Look at what the runtime makes of {best}", "{on_target}", code=LOOK),
    Row({"ship": "nowhere"}, "Get a runtime for {best}", "{on_target}", code=LOOK),

    # A lower step that recovery did not bring to pass
    Row({**SMALLER, "bits": "open"}, "Give the weakest layer more bits",
        "{loss}; {weakest} is at {weakest_db} on its own. {wider} there costs little", run="bits"),
    Row({**SMALLER, "search": "open"}, "Search for mixed precision",
        "{loss}. A search finds the cheapest mix of precisions that passes", recover="mixed_precision"),
    Row({**SMALLER, "train": "open"}, "Train {base}",
        "{loss}. Training with the quantizers in place recovers the most accuracy, and takes longest", recover="train"),
    Row({**SMALLER, "rest": "some"}, "Run {rest} instead", "{loss}, recovery included. {asks}",
        run="rest"),
    Row({**SMALLER, "ship": "none", "control": "pass", "control_ships": "yes"}, "Deploy {control}",
        "Only the baseline passes, and {target} runs it", deploy="ship_control"),
    Row({**OPEN, "state": "fail", "causes": "none"}, "Find the causes",
        "{loss}. The diagnosis names the layers and the remedies", code="{flow}.diagnose({closest})"),
    Row({**SMALLER, "ship": "none"}, "Raise the tolerance or the bits",
        "No run keeps the metric within {tolerance}; {closest} comes closest: {verdict}"),
    Row({"finished": "yes", "ship": "none", "control": "pass", "control_ships": "yes"}, "Deploy {control}",
        "The baseline passes, and {target} runs nothing lower", deploy="ship_control"),
    Row({"finished": "yes", "ship": "none", "control_ships": "no"}, "Done here: compare the runs",
        "Nothing is left on the ladder that {target} runs", code="{flow}.summary()"),
)  # fmt: skip


def next_steps(flow: Workflow) -> list[NextStep]:
    """The most useful first; never empty."""
    found, said = standing.read(flow), []
    for row in ROWS:
        if row.holds(found.facts):
            said.append(row.next_step(found, flow.variable))
            if row.last:
                break
    return said
