"""A graph on Qualcomm's HTP in a process of its own.

QNN's emulator may compute wrong values for a graph with 16-bit weights after other graphs in the same process, it
prints to the process's standard output, and a crash in it would end the notebook's kernel. So each graph has a process.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from qnb.errors import TargetError
from qnb.process import Ended, Process, Spare
from qnb.runtimes import qnn_worker

WORKER = qnn_worker.__file__
LOADED = "# LIBNATIVE:"
"""So begins a line about its thread-local storage that the emulator prints when it is loaded, whatever is set."""
QUOTED = 6
"""Lines of the log that an error quotes."""


def _start() -> Process:
    return Process(WORKER, "QnnHtp")


_spare = Spare(_start, qnn_worker.IDLE_S)


class Session:
    """What Runtime uses of an ``onnxruntime.InferenceSession``, of a graph that another process compiles and runs.

    Args:
        model: a path, or a serialized model.
        how: further arguments of `qnn_worker.Worker.open`.

    Attributes:
        assigned: (node, op, provider) of each node.

    Raises:
        qnb.process.Failed: what ONNX Runtime raised.
        qnb.process.Ended: the process crashed.
    """

    def __init__(self, model: str | bytes, **how: Mapping[str, Any]):
        source = np.frombuffer(model, np.uint8) if isinstance(model, bytes) else os.path.abspath(model)
        self._process = _spare.take()
        _spare.put(_start())  # for the next graph: it loads the library while this one compiles
        try:
            self.assigned = self._process.ask(model=source, **how)["assigned"]
        except BaseException:
            self._process.close()
            raise

    @property
    def alive(self) -> bool:
        """Whether it can run; one that crashed, or whose run was interrupted, cannot."""
        return self._process.alive

    def run(self, names: Sequence[str] | None, feeds: Mapping[str, Any]) -> list[np.ndarray]:
        """Outputs of these names, None for all, for arrays by the names of inputs."""
        return self._run(names, feeds)[0]

    def seconds(self, feeds: Mapping[str, Any]) -> float:
        """How long one run takes in its process."""
        return self._run(None, feeds)[1]

    def _run(self, names: Sequence[str] | None, feeds: Mapping[str, Any]) -> tuple[list[np.ndarray], float]:
        values = {f"value{index}": np.asarray(value) for index, value in enumerate(feeds.values())}
        answer = self._process.ask(names=names, inputs=list(feeds), **values)
        return [answer[f"value{index}"] for index in range(len(answer) - 1)], answer["seconds"]


def crash(operation: str, doing: str, error: Ended) -> TargetError:
    """What to say of a process that ended: ``doing`` is what it did then."""
    lines = [re.sub(r"\x1b\[[\d;]*m", "", line) for line in error.log if not line.startswith(LOADED)]
    log = f"its log ends with: {' / '.join(lines[-QUOTED:])}" if lines else "its log is empty"
    memory = "free some memory and " if "SIGKILL" in error.how else ""
    remedy = (
        f"{memory}run it again, which starts another process; if that ends too, the fault is QNN's: use another "
        "precision, or another version of onnxruntime-qnn"
    )
    return TargetError(operation, f"QNN's process {error.how} while it {doing}; {log}", remedy)
