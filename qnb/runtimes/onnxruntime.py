"""ONNX Runtime on the CPU."""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from qnb.errors import FileError, PrecisionError
from qnb.runtimes.facts import register
from qnb.runtimes.runtime import PLACEMENT, Runtime
from qnb.runtimes.session import open_session, session_options
from qnb.sim.exact import check_integer

if TYPE_CHECKING:
    from qnb.sim.base import SimBase

MOVES = frozenset(
    {
        "QuantizeLinear",
        "DequantizeLinear",
        "Cast",
        "Identity",
        "Reshape",
        "Flatten",
        "Squeeze",
        "Unsqueeze",
        "Transpose",
        "Concat",
        "Split",
        "Slice",
        "Gather",
        "GatherElements",
        "GatherND",
        "Expand",
        "Tile",
        "Pad",
        "Shape",
        "Constant",
        "ConstantOfShape",
        "Range",
        "DepthToSpace",
        "SpaceToDepth",
        "ReorderInput",
        "ReorderOutput",
        "Where",
    }
)
"""Ops that compute nothing: they move or convert values."""
INTEGER = ("QLinear", "QGemm", "QAttention", "QEmbed", "MatMulInteger", "ConvInteger", "DynamicQuantize")
"""How names of integer kernels begin."""
INTEGER_OPTIMIZERS = frozenset({"QDQSelectorActionTransformer", "QDQS8ToU8Transformer"})
"""Without these two, no QDQ pattern becomes an integer kernel: all run in floating point."""
SHARED_WEIGHT = "Attempt to replace the existing tensor"
"""How ONNX Runtime 1.30 to 1.32 refuses, with exact kernels, a weight that several nodes use."""


@register
class OnnxRuntime(Runtime):
    """An ONNX file on ONNX Runtime's CPU kernels; QDQ patterns run as integer kernels.

    Takes the arguments of `Runtime`. On x86 CPUs without VNNI, products of uint8 and int8 may saturate; there the
    slower, exact kernels are switched on (``session.x64quantprecision``), so that all CPUs give the same numbers. Those
    kernels cannot share a weight: there a file with a recurrent layer runs in floating point.

    Example::

        runtime = qnb.runtimes.OnnxRuntime("model.onnx", threads=2)
        logits = runtime.run(images)            # [N, classes], float32
        runtime.placement()                     # QLinearConv rows: integer kernels
        print(runtime.latency(images[:1]))      # 3.21 ms (3.10 to 3.60, 50 runs, 2 threads)
    """

    name = exact = "onnxruntime"
    title = "ONNX Runtime, CPU"

    def __init__(
        self,
        path: str | os.PathLike,
        *,
        threads: int | None = None,
        batch: int | None = None,
        shapes: Mapping[str, int] | None = None,
    ):
        super().__init__(path, threads=threads, batch=batch, shapes=shapes)
        if self._header.compiled:
            received = f"{self.path.name} holds a binary compiled for a device"
            raise FileError("OnnxRuntime", received, "open it with QnnHtp, or open the file it was compiled from")

    @classmethod
    def untimed(cls, sim: SimBase) -> str:
        """Its kernels compute in floating point what a device computes in integers, but for W8A8."""
        if sim.precision.name in ("fp32", "fp16"):
            return ""
        try:
            check_integer(sim, cls.exact)
        except PrecisionError:
            return "ONNX Runtime's CPU has integer kernels for W8A8 only: other widths run in floating point there"
        return ""

    def placement(self) -> pd.DataFrame:
        """The graph after ONNX Runtime's optimizations, a row per node.

        Returns:
            columns ``node, op, provider`` ("CPU"). ``.attrs["integer_share"]`` is the share of computing nodes (those
            that do more than move or convert values) whose kernel is an integer one, 0 to 1.
        """
        import onnx

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "optimized.onnx")
            options = self._options(self._sizes)
            options.optimized_model_filepath = str(path)
            options.add_session_config_entry("session.optimized_model_external_initializers_file_name", "weights.bin")
            self._open(str(self.path), options, "placement")
            nodes = onnx.load(path, load_external_data=False).graph.node
        frame = pd.DataFrame([(node.name, node.op_type, "CPU") for node in nodes], columns=list(PLACEMENT))
        computing = [op for op in frame["op"] if op not in MOVES]
        integer = sum(op.startswith(INTEGER) for op in computing)
        frame.attrs["integer_share"] = integer / len(computing) if computing else 0.0
        return frame

    def _session(self, source: str | bytes, batch_names: Mapping[str, int]) -> Any:
        return self._open(source, self._options(batch_names))

    def _open(self, source: str | bytes, options: Any, verb: str = "") -> Any:
        """A session of these options; in floating point where exact integer kernels cannot share a weight."""
        opened = partial(open_session, source, options, ["CPUExecutionProvider"], self._operation(verb))
        try:
            return opened()
        except FileError as error:
            if SHARED_WEIGHT not in error.received:
                raise
            return opened(without=INTEGER_OPTIMIZERS)

    def _options(self, sizes: Mapping[str, int]) -> Any:
        import onnxruntime

        options = session_options(self.threads, sizes)
        if needs_exact_kernels():
            options.add_session_config_entry("session.x64quantprecision", "1")
        # A product with 8-bit weights would become one that rounds its other factor to 8 bits too.
        options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
        if self._header.eight_bit_floats:  # its optimizer drops a ReLU before their QuantizeLinear
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        return options


@cache
def needs_exact_kernels() -> bool:
    """Whether this is an x86 CPU that is not known to have VNNI."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return True
    flags = next((line for line in lines if line.startswith("flags")), "").split()
    return not {"avx512_vnni", "avx_vnni"}.intersection(flags)
