"""The workflow's fourth step: getting the accuracy back. Runs made by recovery methods, and what to try."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from qnb.errors import InputError
from qnb.sharing import without
from qnb.workflow.guidance import next_steps

if TYPE_CHECKING:
    from qnb.numerics import Precision
    from qnb.workflow.guidance.diagnosis import Diagnosis
    from qnb.workflow.jobs.job import Job
    from qnb.workflow.recovery.pareto_front import ParetoFront
    from qnb.workflow.recovery.sensitivities import Sensitivity
    from qnb.workflow.run import Run


class Recovering:
    """Base of `Workflow`: ``proposal`` is a run that was made to be looked at and is not kept yet."""

    def _begin_recovering(self) -> None:
        self.proposal: Run | None = None
        self.sensitivities: dict[str, Sensitivity] = {}
        self.pareto_fronts: dict[str, ParetoFront] = {}
        self.diagnoses: dict[str, Diagnosis] = {}

    def recover(
        self,
        precision: str | Precision,
        methods: str | Iterable[str] = "auto",
        *,
        name: str | None = None,
        keep: bool = True,
        progress=None,
        **options,
    ) -> Run:
        """Improve a run's simulation by recovery methods; a new run beside the old one.

        Args:
            precision: a run's name, or a precision, which is run first where it was not.
            methods: of `qnb.methods.METHODS`, one or several in order; ``"auto"`` tries them in rising effort until
                the metric is within the tolerance.
            name: to keep the new run under; by default the old one's and the methods', ``"w4a8+adaround"``.
            keep: False leaves it as the ``proposal``, for `keep` or `discard`.
            progress: ``progress(done, total, message)``, as for `run`.
            options: of the methods: ``iterations=500`` goes to each that knows it, ``adaround={"iterations": 500}``
                to that one. Of "auto": ``mixed_precision=False`` and ``train=False`` leave these out.
        """
        from qnb.workflow.recovery import recover

        wanted = recover.Recovery.of(self, precision, methods, name, options)
        with self._alone(wanted.title):
            wanted.check(self)
        if wanted.base not in self.runs:
            self.run(wanted.precision, progress=progress)
        with self._alone(wanted.title):
            made = recover.recover(self, wanted, progress)
            if keep:
                made = self._keep(made)
            else:
                self.proposal = made
        self.changed.emit()
        return made

    def submit_recover(self, precision, methods="auto", **arguments) -> Job:
        """`recover` in a thread of its own, as the panel does it."""
        from qnb.workflow.recovery.recover import Recovery

        own = {k: arguments[k] for k in ("name", "keep") if k in arguments}
        options = {k: v for k, v in arguments.items() if k not in own}
        wanted = Recovery.of(self, precision, methods, own.get("name"), options)
        with self._alone(wanted.title):
            wanted.check(self)
        return self.start(wanted.title, lambda report: self.recover(precision, methods, progress=report, **arguments))

    def keep(self) -> Run:
        """Make the proposal a run like the others."""
        if self.proposal is None:
            raise InputError("flow.keep", "no proposal", "make one with flow.recover(..., keep=False)")
        kept, self.proposal = self._keep(self.proposal), None
        self.changed.emit()
        return kept

    def discard(self) -> None:
        """Forget the proposal; the runs stay as they are."""
        self.proposal = None
        self.changed.emit()

    def _keep(self, made: Run) -> Run:
        self._forget(made.name)  # first: nobody sees what was found about the old run beside the new one
        self.sensitivities, self.pareto_fronts = (
            without(self.sensitivities, made.name),
            without(self.pareto_fronts, made.name),
        )
        self.diagnoses = without(self.diagnoses, made.name)
        self.runs = self.runs | {made.name: made}
        made = replace(made, next=tuple(next_steps.next_steps(self)))
        self.runs = self.runs | {made.name: made}
        return made

    def sensitivity(self, name: str, method: str = "fisher", *, progress=None, **options) -> Sensitivity:
        """Which quantizers cost a run its accuracy, the most sensitive first: chart and table.

        Args:
            name: of the run.
            method: ``"fisher"`` (one pass), ``"sqnr"`` or ``"evaluate"`` (the metric, one quantizer at a time).
            options: of `qnb.sensitivity`, ``executor`` say.
        """
        from qnb.workflow.recovery import sensitivities

        sensitivities.check(self, name, "flow.sensitivity")
        with self._alone(f"flow.sensitivity({name!r})"):
            found = sensitivities.measure(self, name, method, options, progress)
            self.sensitivities = self.sensitivities | {name: found}
        self.changed.emit()
        return found

    def search_mixed_precision(self, name: str, *, progress=None, **options) -> ParetoFront:
        """The Pareto front of mixed precisions of a run: cost against predicted loss, some points measured; choose
        one, ``verify`` it, ``keep`` it as a run.

        Args:
            name: of the run, whose ranges all mixes start from.
            options: of `qnb.methods.search_mixed_precision`: ``candidates``, ``cost``, ``sensitivity``, ``cache``,
                ``executor``, ``layers``; ``verify`` says how many points are measured to begin with.
        """
        from qnb.workflow.recovery import pareto_front as mixed_precision
        from qnb.workflow.recovery import sensitivities

        sensitivities.check(self, name, "flow.search_mixed_precision")
        with self._alone(f"flow.search_mixed_precision({name!r})"):
            found = mixed_precision.search(self, name, options, progress)
            self.pareto_fronts = self.pareto_fronts | {name: found}
        self.changed.emit()
        return found

    def precision_panel(self, name: str | None = None):
        """`search_mixed_precision` with buttons: the front, a slider for the budget, bits per layer, Verify, Keep."""
        from qnb import panels

        return panels.MixedPrecisionPanel(self, name)

    def advice(self, name: str | None = None, *, progress=None) -> Diagnosis:
        """What the numbers of a run say about its loss: evidence, technique, the line of code. It is kept under the
        run's name in ``diagnoses``, until the run is made anew.

        Args:
            name: of a run; by default the first that is not within tolerance, else the last.
        """
        from qnb.workflow.guidance import diagnosis as findings

        before = self.runs
        found = findings.find(self, name, progress)
        if self.runs.get(found.run) is before[found.run]:
            self.diagnoses = self.diagnoses | {found.run: found}
            self.changed.emit()
        return found

    def recovery_panel(self, name: str | None = None):
        """`recover` with buttons: choose techniques, follow the loss, see before and after, keep or discard.

        Args:
            name: the run to start from; by default the selected one, else the first that is not within tolerance.
        """
        from qnb import panels

        return panels.RecoveryPanel(self, name)
