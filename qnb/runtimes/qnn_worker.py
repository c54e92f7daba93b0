"""The worker that compiles one graph for Qualcomm's HTP and runs it, in a process of its own.

`qnb.process_child` loads this file, not qnb: it imports NumPy, ONNX Runtime and QNN alone.
"""

from __future__ import annotations

import ctypes
import time
from typing import Any

import numpy as np

PROVIDER = "QNNExecutionProvider"
IDLE_S = 60.0
"""After so long without a graph the process ends; with one, it waits for as long as somebody may ask."""


class NoDevice(Exception):
    """The provider's library was loaded, and offers nothing."""


class Worker:
    """Takes a graph, then inputs for it."""

    def __init__(self):
        import onnxruntime
        import onnxruntime_qnn

        ctypes.CDLL(onnxruntime_qnn.get_qnn_htp_path())  # now, so that a process that waits for a graph has it loaded
        onnxruntime.register_execution_provider_library(PROVIDER, onnxruntime_qnn.get_library_path())
        self.idle_s, self.session = IDLE_S, None

    def answer(self, **message: Any) -> dict:
        if "model" in message:
            return self.open(**message)
        return self.run(**message)

    def open(self, model: str | np.ndarray, attributes: dict, sizes: dict, entries: dict, provider: dict) -> dict:
        """``assigned``: (node, op, provider) of each node.

        Args:
            model: a path, or the bytes of a model.
            attributes: of the ``onnxruntime.SessionOptions``.
            sizes: of open dimensions, by name.
            entries: of the session's configuration.
            provider: QNN's options.
        """
        import onnxruntime
        import onnxruntime_qnn

        options = onnxruntime.SessionOptions()
        for name, value in attributes.items():
            setattr(options, name, value)
        options.log_severity_level = 3  # errors: the log is quoted where this process crashes
        for name, size in sizes.items():
            options.add_free_dimension_override_by_name(name, size)
        for key, value in entries.items():
            options.add_session_config_entry(key, value)
        devices = [device for device in onnxruntime.get_ep_devices() if device.ep_name == PROVIDER]
        if not devices:
            raise NoDevice()
        options.add_provider_for_devices(devices[:1], {"backend_path": onnxruntime_qnn.get_qnn_htp_path(), **provider})
        source = model if isinstance(model, str) else model.tobytes()
        self.session, self.idle_s = onnxruntime.InferenceSession(source, options), None
        return {
            "assigned": [
                (node.name, node.op_type, part.ep_name)
                for part in self.session.get_provider_graph_assignment_info()
                for node in part.get_nodes()
            ]
        }

    def run(self, names: list[str] | None, inputs: list[str], **values: np.ndarray) -> dict:
        """``value0``, ``value1``, ... for inputs of such names, and how long the run took in ``seconds``."""
        feeds = {name: values[f"value{index}"] for index, name in enumerate(inputs)}
        start = time.perf_counter()
        found = self.session.run(names, feeds)
        seconds = time.perf_counter() - start
        return {"seconds": seconds, **{f"value{index}": value for index, value in enumerate(found)}}
