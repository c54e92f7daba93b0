"""Qualcomm's HTP: on the device itself, or in the emulator that QNN brings for x86-64."""

from __future__ import annotations

import json
import os
import platform
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import pandas as pd

from qnb import targets
from qnb.errors import DependencyError, FileError, InputError, QnbError, TargetError
from qnb.process import Ended, Failed
from qnb.runtimes import onnx_file, qnn_library, qnn_process
from qnb.runtimes import soc as socs
from qnb.runtimes.facts import register
from qnb.runtimes.qnn_worker import PROVIDER
from qnb.runtimes.runtime import PLACEMENT, Runtime
from qnb.runtimes.session import attributes, first_line

PROVIDERS = {PROVIDER: "HTP", "CPUExecutionProvider": "CPU"}
CONVERSIONS = ("QuantizeLinear", "DequantizeLinear")
NAMED = 8
"""Nodes that an error names."""


@register
class QnnHtp(Runtime):
    """An ONNX file on Qualcomm's HTP: on a device, or on x86-64 in the emulator that QNN brings.

    Takes the arguments of `Runtime`, and these. QNN compiles and runs each graph in a process of its own: a crash of it
    is an error, an interrupt ends it at once, and runtimes in several threads run side by side. A graph's process ends
    with the runtime that it belongs to.

    Args:
        soc: a name from `qnb.runtimes.socs`, or an architecture (``"htp-v75"``).
        batch: HTP takes fixed shapes only; an open batch dimension becomes this, or 1.
        fp16: QNN's ``enable_htp_fp16_precision``; None sets it where the file has no QuantizeLinear or
            DequantizeLinear nodes. QNN 2.51 computes floats in FP16 whatever it says.
        fallback: let nodes that HTP does not take run on the CPU; otherwise they are an error that names them.

    Raises:
        DependencyError: onnxruntime-qnn is missing, or not made for this platform.
        TargetError: no such SoC; on load, nodes that HTP does not take; QNN crashed, or hangs.
        InputError: an open dimension other than the batch that ``shapes`` does not fix.

    Example::

        runtime = qnb.runtimes.QnnHtp("model.onnx", soc="sm8650")
        logits = runtime.run(images)           # one image at a time
        runtime.compile("model_sm8650.onnx")   # and model_sm8650_qnn.bin: what a device loads
    """

    name = exact = "htp"
    title = home = "HTP"
    exact_float_io = False  # its own quantization of float inputs follows no known rule
    file = "static"
    compiles = device = True
    rank = 1
    kept = 2
    _failures = (Failed, Ended)

    def __init__(
        self,
        path: str | os.PathLike,
        soc: str | socs.Soc = "sm8650",
        *,
        threads: int | None = None,
        batch: int | None = None,
        shapes: Mapping[str, int] | None = None,
        fp16: bool | None = None,
        fallback: bool = False,
    ):
        qnn_library.need_qnn("QnnHtp")
        self.soc, self.fallback = socs.get(soc), fallback
        super().__init__(path, threads=threads, batch=batch, shapes=shapes)
        self.fp16 = not (self._header.quantized or self._header.compiled) if fp16 is None else fp16
        made_for = self.metadata.get("soc", self.soc.soc)
        if self._header.compiled and made_for != self.soc.soc:  # the emulator would run some of these all the same
            received = f"{self.path.name} was compiled for {made_for}, not for {self.soc.soc}"
            raise TargetError("QnnHtp", received, f"pass soc={made_for!r}, or compile the original for {self.soc.soc}")

    @classmethod
    def available(cls) -> str | None:
        return qnn_library.qnn_available()

    @classmethod
    def suits(cls, target: targets.Target) -> bool:
        return target.htp_arch is not None

    @classmethod
    def emulated(cls) -> bool:
        return emulated()

    @classmethod
    def title_for(cls, soc: socs.Soc) -> str:
        return f"HTP v{soc.htp_arch} ({soc.soc}{', emulated' if emulated() else ''})"

    @classmethod
    def open(cls, path: Path, soc: socs.Soc, threads: int | None) -> Self:
        return cls(path, soc=soc).load()

    def placement(self) -> pd.DataFrame:
        """Where each node runs: the graph as it was given to HTP, which goes on to fuse it unseen.

        Returns:
            columns ``node, op, provider`` ("HTP" or "CPU"). Nodes that ONNX Runtime put in have names of their own.
        """
        self.load()
        return _assignment(self._loaded, self._header.nodes)  # pyright: ignore[reportArgumentType]

    def repeat(self, *inputs: Any) -> Callable[[], float | None]:
        """As `Runtime.repeat`, for latency on a device; raises TargetError where HTP is emulated."""
        if emulated():
            raise TargetError(
                self._operation("latency"),
                f"the emulator on {platform.machine()}: it imitates the arithmetic, not the clock, the memory or the "
                "parallel units, so its time is no estimate of a device's, not even of which model is faster",
                f"measure on the device: compile() writes the file that {self.soc.name} loads",
            )
        return super().repeat(*inputs)

    def _once(self, feeds: list[dict]) -> float:
        try:
            return sum(self._loaded.seconds(fed) for fed in feeds)
        except self._failures as error:
            raise self._failure(self._operation("latency"), error) from error

    def compile(self, path: str | os.PathLike) -> Path:
        """Write the context binary for the SoC: the graph as the device runs it, nothing left to prepare there.

        The emulator runs it too: ``QnnHtp(path, soc=...)``, with the same SoC, gives the same outputs.

        Args:
            path: of the ``.onnx`` file; the binary comes beside it as ``<stem>_qnn.bin``, and belongs to it.

        Returns:
            path of the ``.onnx`` file, which has the inputs, outputs and metadata of the original, and in its
            metadata the SoC.

        Raises:
            InputError: no ``.onnx`` path, or the original's own.
            FileError: the file is compiled already, or cannot be written.
            TargetError: nodes that HTP does not take.
        """
        path, operation = Path(path), self._operation("compile")
        if path.suffix != ".onnx" or path.resolve() == self.path.resolve():
            raise InputError(operation, f"path {str(path)!r}", "give another path that ends in .onnx")
        if self._header.compiled:
            raise FileError(operation, f"{self.path.name} is compiled already", "start from the file it was made from")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            folder = tempfile.TemporaryDirectory(dir=path.parent, prefix=".qnb-")
        except OSError as error:
            raise FileError(operation, f"cannot write to {path.parent}: {error}", "choose another folder") from error
        with folder as work:
            made = Path(os.path.abspath(work), path.name)  # for a process whose working folder may be another
            entries = {"ep.context_enable": "1", "ep.context_file_path": str(made), "ep.context_embed_mode": "0"}
            original = onnx_file.load(self.path, operation)
            # Of a path, ONNX Runtime hashes the folder into a node's name.
            source = str(self.path) if onnx_file.has_external_data(original) else original.SerializeToString()
            self._session(source, self._sizes, entries)
            if not made.exists():
                raise TargetError(operation, "QNN wrote no context: no node runs on HTP", "see placement()")
            self._keep_metadata(made, original)
            rest = [file for file in made.parent.iterdir() if file != made]
            for file in [*rest, made]:  # the one that refers to the others comes last
                os.replace(file, path.parent / file.name)
        return path

    def _keep_metadata(self, path: Path, original: Any) -> None:
        import onnx

        model = onnx_file.load(path, self._operation("compile"))
        written = {entry.key: entry.value for entry in [*original.metadata_props, *model.metadata_props]}
        written["qnb"] = json.dumps({**self.metadata, "soc": self.soc.soc})
        onnx.helper.set_model_props(model, written)
        path.write_bytes(model.SerializeToString())

    def _find_sizes(self, batch: int | None, shapes: Mapping[str, int]) -> dict[str, int]:
        sizes = super()._find_sizes(1 if batch is None and self._batch_names() else batch, shapes)
        open_ = {size for t in self._header.inputs for size in t.shape if isinstance(size, str)} - sizes.keys()
        if open_ - {onnx_file.UNNAMED}:
            names = sorted(open_ - {onnx_file.UNNAMED})
            remedy = f"fix them: shapes={{{', '.join(f'{name!r}: 128' for name in names)}}}"
            received = f"{self.path.name} leaves {', '.join(map(repr, names))} open, and HTP takes fixed shapes only"
            raise InputError(self._operation(), received, remedy)
        if open_:
            received = f"{self.path.name} has open dimensions without a name, and HTP takes fixed shapes only"
            raise InputError(self._operation(), received, "export it with fixed or named dimensions")
        return sizes

    def _session(
        self, source: str | bytes, sizes: Mapping[str, int], entries: Mapping[str, str] | None = None
    ) -> qnn_process.Session:
        try:
            return self._open(source, sizes, self.fallback, entries)
        except Ended as error:
            doing = f"compiled {self.path.name} for {self.soc.soc}"
            raise qnn_process.crash(self._operation("compile" if entries else "load"), doing, error) from error
        except Failed as error:
            raise self._refusal(source, sizes, error) from error

    def _usable(self, session: qnn_process.Session) -> bool:
        return session.alive

    def _failure(self, operation: str, error: Exception) -> QnbError:
        if isinstance(error, Ended):
            return qnn_process.crash(operation, f"ran {self.path.name}", error)
        return super()._failure(operation, error)

    def _open(
        self, source: str | bytes, sizes: Mapping[str, int], fallback: bool, entries: Mapping[str, str] | None = None
    ) -> qnn_process.Session:
        asked = {
            "session.disable_cpu_ep_fallback": str(int(not fallback)),
            "session.record_ep_graph_assignment_info": "1",
            **(entries or {}),
        }
        provider = {
            "htp_arch": str(self.soc.htp_arch),
            "enable_htp_fp16_precision": str(int(self.fp16)),
            # Otherwise, with fallback, quantizing at the graph's ends would go to the CPU.
            "offload_graph_io_quantization": "0",
        }
        if self.soc.soc_model is not None:
            provider["soc_model"] = str(self.soc.soc_model)
        how = {"attributes": attributes(self.threads), "sizes": dict(sizes), "entries": asked, "provider": provider}
        return qnn_process.Session(source, **how)

    def _refusal(self, source: str | bytes, sizes: Mapping[str, int], error: Failed) -> QnbError:
        """What to say of a file that QNN did not take: the nodes, where they can be known."""
        if error.kind == "NoDevice":
            return qnn_library.no_device(self._operation())
        if error.kind in ("ImportError", "ModuleNotFoundError"):
            return DependencyError(
                self._operation(),
                f"QNN's process cannot import what it needs: {error}",
                f"{qnn_library.INSTALL}, for the Python that runs this",
            )
        precisions = ", ".join(targets.get(self.soc.target).precisions)
        other = f"use a precision that {self.soc.target} runs ({precisions}), or replace these ops"
        nodes, where = [], f"{self.soc.soc} (Hexagon v{self.soc.htp_arch})"
        if not self.fallback and not self._header.compiled:
            try:
                placed = _assignment(self._open(source, sizes, True), self._header.nodes)
                nodes = list(placed[placed["provider"] == "CPU"][["node", "op"]].itertuples(index=False, name=None))  # pyright: ignore[reportAttributeAccessIssue]
                other = f"pass fallback=True to run them on the CPU, or {other}"
            except (Failed, Ended):  # then the first error is all there is
                nodes = []
        found = re.search(r"Node '([^']*)' OpType:(\w+)", str(error))
        if not nodes and found:
            nodes = [(_original(found[1], self._header.nodes), found[2])]
        nodes = [n for n in nodes if n[1] not in CONVERSIONS] or nodes  # these are away because of what they serve
        if nodes:
            listed = ", ".join(f"{node or 'unnamed'} ({op})" for node, op in nodes[:NAMED])
            more = f" and {len(nodes) - NAMED} more" if len(nodes) > NAMED else ""
            return TargetError(self._operation(), f"{where} does not take {listed}{more}", other)
        if self._header.compiled:
            remedy = "open it with the SoC and the onnxruntime-qnn version that it was compiled with"
        else:
            remedy = f"use a precision that {self.soc.target} runs ({precisions}), or another soc"
        return TargetError(self._operation(), f"QNN refuses {self.path.name} for {where}: {first_line(error)}", remedy)


def emulated() -> bool:
    """Whether HTP is emulated here: QNN has no other form of it on x86-64."""
    return platform.machine().lower() in ("x86_64", "amd64")


def _original(name: str, nodes: frozenset[str]) -> str:
    """The file's name of a node that ONNX Runtime renamed on its way (``conv1_token_4``)."""
    stem = re.sub(r"_token_\d+$", "", name)
    return stem if stem in nodes else name


def _assignment(session: qnn_process.Session, nodes: frozenset[str]) -> pd.DataFrame:
    rows = [(_original(name, nodes), op, PROVIDERS.get(provider, provider)) for name, op, provider in session.assigned]
    return pd.DataFrame(rows, columns=list(PLACEMENT))
