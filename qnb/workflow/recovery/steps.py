"""The workflow's steps that recover accuracy, and those that find what costs it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from qnb.progress import Report
from qnb.workflow.jobs.progress import shown
from qnb.workflow.jobs.runner import prepared_by
from qnb.workflow.recovery import pareto_front, sensitivities
from qnb.workflow.recovery.recipe import auto
from qnb.workflow.recovery.recover import AUTO, Recovery, apply
from qnb.workflow.recovery.what_if import WhatIf
from qnb.workflow.results import check_simulated, keep_run

if TYPE_CHECKING:
    from qnb.numerics import Precision
    from qnb.workflow.recovery.pareto_front import ParetoFront
    from qnb.workflow.recovery.sensitivities import Sensitivity
    from qnb.workflow.run import Run
    from qnb.workflow.workflow import Workflow


def _recovery(
    flow: Workflow,
    run: str | Precision,
    methods: str | Iterable[str] = "auto",
    *,
    name: str | None = None,
    keep: bool = True,
    **options: Any,
) -> Recovery:
    """What `recover` is asked for; what is wrong with it is an error, before any work."""
    wanted = Recovery.of(flow, run, methods, name, options)
    wanted.check(flow)
    return wanted


@prepared_by(_recovery)
def recover(
    flow: Workflow,
    run: str | Precision,
    methods: str | Iterable[str] = "auto",
    *,
    name: str | None = None,
    keep: bool = True,
    progress: Report | None = None,
    **options: Any,
) -> Run:
    """Improve a run's simulation by recovery methods; a new run beside the old one.

    Args:
        run: a run's name, or a precision, which is run first where it was not.
        methods: of `qnb.methods.METHODS`, one or several in order; ``"auto"`` follows the diagnosis, what should bring
            most per second first, until the metric is within the tolerance.
        name: to keep the new run under; by default the old one's and the methods', ``"w4a8+adaround"``.
        keep: False leaves it as the ``proposal``, for `keep` or `discard`.
        progress: ``progress(done, total, message)``, as for `Workflow.run`.
        options: of the methods: ``iterations=500`` goes to each that knows it, ``adaround={"iterations": 500}``
            to that one. Of "auto": ``mixed_precision=False`` and ``train=False`` leave these out; ``max_seconds``,
            ``max_bytes`` (by default what the run takes) and ``max_bops`` are limits.
    """
    with flow.jobs.alone("flow.recover"):
        wanted = _recovery(flow, run, methods, name=name, **options)
    if wanted.base not in flow.runs:
        flow.run(wanted.precision, progress=progress)
    with flow.jobs.alone(wanted.title):
        with shown(wanted.title, progress) as report:
            made = auto(flow, wanted, report) if wanted.methods == (AUTO,) else apply(flow, wanted, report)
        if keep:
            made = keep_run(flow, made)
        else:
            flow.proposal = made
    flow.changed.emit()
    return made


def sensitivity(
    flow: Workflow, run: str, estimator: str = "fisher", *, progress: Report | None = None, **options: Any
) -> Sensitivity:
    """Which quantizers cost a run its accuracy, the most sensitive first: chart and table.

    Args:
        run: its name.
        estimator: ``"fisher"`` (one pass), ``"sqnr"`` or ``"evaluate"`` (the metric, one quantizer at a time).
        progress: ``progress(done, total, message)``, as for `Workflow.run`.
        options: of `qnb.sensitivity`, for example ``executor``.
    """
    check_simulated(flow, run, "flow.sensitivity")
    with flow.jobs.alone(f"flow.sensitivity({run!r})"):
        found = sensitivities.measure(flow, run, estimator, options, progress)
        flow.sensitivities = flow.sensitivities | {run: found}
    flow.changed.emit()
    return found


def search_mixed_precision(flow: Workflow, run: str, *, progress: Report | None = None, **options: Any) -> ParetoFront:
    """The Pareto front of mixed precisions of a run: cost against predicted loss, some points measured; choose
    one, ``verify`` it, ``keep`` it as a run.

    Args:
        run: its name; all mixes start from its ranges.
        progress: ``progress(done, total, message)``, as for `Workflow.run`.
        options: of `qnb.methods.mixed_precision`: ``candidates``, ``cost``, ``sensitivity``, ``cache``,
            ``executor``, ``layers``; ``verify`` says how many points are measured to begin with.
    """
    check_simulated(flow, run, "flow.search_mixed_precision")
    with flow.jobs.alone(f"flow.search_mixed_precision({run!r})"):
        found = pareto_front.search(flow, run, options, progress)
        flow.pareto_fronts = flow.pareto_fronts | {run: found}
    flow.changed.emit()
    return found


def what_if(flow: Workflow, run: str) -> WhatIf:
    """Try other bits or calibration methods for some layers of a run, see what they change, keep it as a run or not."""
    return WhatIf(flow, check_simulated(flow, run, "flow.what_if"))
