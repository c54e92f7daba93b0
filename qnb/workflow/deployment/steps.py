"""The workflow's last steps: a run on the target, and runs measured as files. Results are kept by the run's name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from qnb.arguments import whole
from qnb.progress import Report
from qnb.workflow.deployment import deploy as deployments
from qnb.workflow.deployment import performance
from qnb.workflow.deployment.order import order
from qnb.workflow.jobs.progress import shown

if TYPE_CHECKING:
    from qnb.workflow.deployment.result import Deployment
    from qnb.workflow.workflow import Workflow


def deploy(
    flow: Workflow,
    run: str,
    folder: str | Path,
    *,
    runtimes: Iterable[str] | str | None = None,
    soc: str | None = None,
    samples: int = 16,
    evaluate: bool | None = None,
    integer_io: bool = False,
    threads: int | None = None,
    progress: Report | None = None,
) -> Deployment:
    """Write a run's files for the device, run them on real runtimes, compare with the simulation layer by layer.

    Args:
        run: its name: ``"w8a16"``.
        folder: where the files go (made if missing): the ONNX file, a float one with its encodings for
            qairt-converter, the context binary for the SoC; the commands that take them to a device, and all that
            these name: a few samples as raw files, and what the simulation makes of them. All are replaced
            together, at the end.
        runtimes: of ``"onnxruntime"`` and ``"htp"``; by default those that suit the target. One that is not
            installed is reported with its install line.
        soc: a name from `qnb.runtimes.socs`; by default one of the target's architecture.
        samples: how many the layers are compared on, from the calibration data.
        evaluate: whether to evaluate on the runtimes too; None does, where the HTP emulator takes no more than
            two minutes.
        integer_io: inputs and outputs of the files are integer codes, so that nothing is computed in floating
            point; then the integer-exact simulation is compared with HTP too.
        threads: of ONNX Runtime.
        progress: ``progress(done, total, message)``, as for `Workflow.run`.
    """
    wanted = order(flow, run, folder, runtimes, soc, samples, evaluate, integer_io, threads)
    with flow.jobs.alone(f"flow.deploy({run!r})"):
        found = deployments.deploy(flow, wanted, progress)
        flow.deployments = flow.deployments | {run: found}
    flow.changed.emit()
    return found


def measure(
    flow: Workflow, *runs: str, threads: int | None = None, repeats: int = 30, progress: Report | None = None
) -> pd.DataFrame:
    """File size of runs and, where ONNX Runtime's CPU computes them as a device would (FP32, FP16, W8A8), the
    latency of one sample, their runs taking turns. `Workflow.summary` shows both from then on.

    Args:
        runs: their names; all by default.
        threads: of ONNX Runtime.
        repeats: how often each is timed.
        progress: ``progress(done, total, message)``, as for `Workflow.run`.
    """
    names = [flow[name].name for name in runs or flow.runs]
    whole("flow.measure", "repeats", repeats)
    performance.check_threads("flow.measure", threads)
    with flow.jobs.alone("flow.measure()"):
        with shown("flow.measure()", progress) as report:
            found = performance.measure(flow, names, threads, repeats, report)
        flow.performance = flow.performance | found
    flow.changed.emit()
    return performance.table(found)
