"""The workflow's last step: on the target. What is found is kept by the run's name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pandas as pd

from qnb.arguments import whole
from qnb.sharing import without
from qnb.workflow.jobs.progress import shown

if TYPE_CHECKING:
    from qnb.workflow.deployment.performance import Performance
    from qnb.workflow.deployment.result import Deployment


class OnTarget:
    """Base of `Workflow`: ``deployments`` and ``performance`` by run."""

    def _begin_on_target(self) -> None:
        self.deployments: dict[str, Deployment] = {}
        self.performance: dict[str, Performance] = {}

    def _forget(self, name: str) -> None:
        """What was found speaks of the run that was."""
        self.deployments, self.performance = without(self.deployments, name), without(self.performance, name)

    def deploy(
        self,
        name: str,
        folder,
        *,
        runtimes: Iterable[str] | str | None = None,
        soc: str | None = None,
        samples: int = 16,
        evaluate: bool | None = None,
        integer_io: bool = False,
        threads: int | None = None,
        progress=None,
    ) -> Deployment:
        """Write a run's files for the device, run them on real runtimes, compare with the simulation layer by layer.

        Args:
            name: a run: ``"w8a16"``.
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
            progress: ``progress(done, total, message)``, as for `run`.
        """
        from qnb.workflow.deployment import deploy

        wanted = deploy.order(self, name, folder, runtimes, soc, samples, evaluate, integer_io, threads)
        with self._alone(f"flow.deploy({name!r})"):
            found = deploy.deploy(self, wanted, progress)
            self.deployments = self.deployments | {name: found}
        self.changed.emit()
        return found

    def measure(self, *names: str, threads: int | None = None, runs: int = 30, progress=None) -> pd.DataFrame:
        """File size of runs and, where ONNX Runtime's CPU computes them as a device would (FP32, FP16, W8A8), the
        latency of one sample, their runs taking turns. `summary` shows both from then on.

        Args:
            names: runs; all by default.
            threads: of ONNX Runtime.
            runs: how often each is timed.
            progress: ``progress(done, total, message)``, as for `run`.
        """
        from qnb.workflow.deployment import performance

        names = names or tuple(self.runs)
        for name in names:
            self[name]
        whole("flow.measure", "runs", runs)
        performance.check_threads("flow.measure", threads)
        with self._alone("flow.measure()"):
            with shown("flow.measure()", progress) as report:
                found = performance.measure(self, names, threads, runs, report)
            self.performance = self.performance | found
        self.changed.emit()
        return performance.table(found)

    def _measured(self, name: str) -> tuple:
        """(bytes of the file, latency in ms), as far as they are known; `deploy` times runs one by one, which does
        not compare."""
        found, deployed = self.performance.get(name), self.deployments.get(name)
        if found is None:
            return deployed.file_bytes if deployed else pd.NA, float("nan")
        return found.file_bytes, found.latency.median_ms if found.latency else float("nan")
