"""The interface that every runtime has; a new one is one registered subclass with `_session` and `placement`."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import pandas as pd
import torch

from qnb.errors import FileError, InputError, QnbError
from qnb.runtimes import feed, onnx_file
from qnb.runtimes.facts import RuntimeFacts
from qnb.runtimes.latency import Latency, interleaved
from qnb.runtimes.onnx_file import Tensor
from qnb.runtimes.session import first_line, need, open_session, session_options

PLACEMENT = ("node", "op", "provider")
"""What `Runtime.placement` returns, one row per node."""


class Runtime(RuntimeFacts):
    """An ONNX file on a runtime; the session is made on first use, or by `load`.

    Args:
        path: the file.
        threads: the session's number of threads; None leaves it to the runtime.
        batch: size of the batch dimension (dimension 0 of the inputs) where the file leaves it open; then, as with
            a file of a fixed batch, any number of samples runs in pieces of that size.
        shapes: sizes of other open dimensions, by name: ``{"seq": 128}``.

    Attributes:
        path: the file.
        inputs, outputs: `Tensor` descriptions, in the graph's order, with the sizes given here filled in.
        metadata: what qnb wrote into the file: for integer graph inputs and outputs
            ``{"inputs": {name: {"grid": "uint8", "scale": 0.02, "zero_point": 128}}, "outputs": {...}}``; else {}.

    Raises:
        FileError: no such file, or not ONNX.
        InputError: an argument that does not fit the file.
        DependencyError: a package is missing.
    """

    kept = 4
    """Sessions with additional outputs that are kept."""
    _failures: tuple[type[Exception], ...] = (Exception,)
    """What a session's ``run`` raises where it fails."""

    def __init__(
        self,
        path: str | os.PathLike,
        *,
        threads: int | None = None,
        batch: int | None = None,
        shapes: Mapping[str, int] | None = None,
    ):
        self.path, self.threads = Path(path), threads
        need("onnx", self._operation())
        need("onnxruntime", self._operation())
        for what, value in (("threads", threads), ("batch", batch), *(shapes or {}).items()):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise InputError(self._operation(), f"{what}={value!r}", "give a positive integer")
        self._header = onnx_file.read(self.path, self._operation())
        self.metadata: dict[str, Any] = self._header.metadata
        self._sizes = self._find_sizes(batch, shapes or {})
        self.inputs, self.outputs = map(self._sized, (self._header.inputs, self._header.outputs))
        self._batch = self._piece_size(batch)
        self._lock, self._loaded, self._extended = threading.Lock(), None, {}

    # What a subclass gives.

    def _session(self, source: str | bytes, batch_names: Mapping[str, int]) -> Any:
        """An ``onnxruntime.InferenceSession`` of a path or a serialized model, open dimensions fixed by name.

        Or anything that has its ``run``.
        """
        raise NotImplementedError

    def _usable(self, session: Any) -> bool:
        """Whether a session can still run; one that cannot is created again at its next use."""
        return True

    def placement(self) -> pd.DataFrame:
        """Where each node of the graph runs, as the runtime runs it: columns ``node, op, provider``."""
        raise NotImplementedError

    # Use.

    def load(self) -> Self:
        """Make the session now; the first use does it otherwise. Returns self."""
        with self._lock:
            if self._loaded is None or not self._usable(self._loaded):
                self._loaded = self._session(str(self.path), self._sizes)
        return self

    def run(self, *inputs: Any) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """The outputs for these inputs.

        Floats for an integer input of the file are quantized on their way in, integers of its grid pass as they
        are; integer outputs with a grid are dequantized. A file of a fixed batch takes any number of samples: it
        runs piece by piece, the last filled up by repeating its last sample.

        Args:
            inputs: torch tensors or NumPy arrays of the shapes in `inputs`, in that order; or one dict by name.

        Returns:
            float32 tensor, or a tuple of them where the file has several outputs; integer outputs that stand for
            no float (class numbers) keep their type.

        Raises:
            InputError: a wrong number, type, rank or size of inputs.
        """
        self.load()
        grids = self.metadata.get("outputs", {})
        raw = self._run(self._loaded, [tensor.name for tensor in self.outputs], inputs, "run")
        outputs = tuple(feed.real(value, grids.get(name)) for name, value in raw.items())
        return outputs[0] if len(outputs) == 1 else outputs

    def values(self, names: Sequence[str], *inputs: Any) -> dict[str, torch.Tensor]:
        """Inner tensors of the graph for these inputs, as they are: integer codes stay integers.

        A copy of the file that returns them too is run; the last `kept` are kept. A tensor that becomes an output
        must exist, so nothing is fused across it: to see what the runtime computes, ask for outputs of
        QuantizeLinear nodes (the codes); the float that enters such a node exists only where kernels are not fused.

        Args:
            names: outputs of nodes, graph inputs or graph outputs.
            inputs: as for `run`.

        Returns:
            by name, the pieces of the batch put together; 4-bit codes come as 8-bit integers; a tensor that does
            not depend on the inputs (a dequantized weight) comes once.

        Raises:
            InputError: no node makes a tensor of this name; inputs as for `run`.
        """
        names = [names] if isinstance(names, str) else list(dict.fromkeys(names))
        given = [name for name in names if name in {tensor.name for tensor in self.inputs}]
        asked = [name for name in names if name not in given]
        session, outside, fixed = self._with_outputs(tuple(asked))
        changing = [name for name in outside.values() if name not in fixed]
        found = {**fixed, **self._run(session, [*changing, *given], inputs, "values")}
        return {name: found[outside.get(name, name)] for name in names}

    def latency(self, *inputs: Any, runs: int = 50, warmup: int = 5) -> Latency:
        """Time of one run of these inputs, quantizing outside the session left out.

        Args:
            inputs: as for `run`; by default random ones of the file's shapes, with batch 1 where it is open.
            runs, warmup: measured and unmeasured repetitions.

        Returns:
            median, 10th and 90th percentile in ms. A batch that runs in pieces counts as one run.
        """
        return interleaved({self.name: self}, *inputs, runs=runs, warmup=warmup)[self.name]

    def repeat(self, *inputs: Any) -> Callable[[], float | None]:
        """One run of these inputs (as for `latency`) as a function, to be timed.

        It returns the seconds that the run took where the caller's clock would count more than that, else None.
        """
        self.load()
        parts, _, _ = self._arrange(inputs or self._random("latency"), "latency")
        feeds = [self._feed(part) for part in parts]
        return lambda: self._once(feeds)

    def _once(self, feeds: list[dict]) -> float | None:
        for fed in feeds:
            self._loaded.run(None, fed)
        return None

    def __repr__(self) -> str:
        inputs, outputs = ("; ".join(map(str, tensors)) for tensors in (self.inputs, self.outputs))
        return f"{type(self).__name__}({self.path.name!r}): {inputs} -> {outputs}"

    # How.

    def _operation(self, verb: str = "") -> str:
        return f"{type(self).__name__}{verb and '.'}{verb}"

    def _batch_names(self) -> set[str]:
        """Names of open batch dimensions."""
        return {t.shape[0] for t in self._header.inputs if t.shape and isinstance(t.shape[0], str)}

    def _find_sizes(self, batch: int | None, shapes: Mapping[str, int]) -> dict[str, int]:
        names = {size for t in self._header.inputs for size in t.shape if isinstance(size, str)} - {onnx_file.UNNAMED}
        unknown = [name for name in shapes if name not in names]
        if unknown:
            has = f"it leaves open {', '.join(map(repr, sorted(names)))}" if names else "its shapes are fixed"
            received = f"shapes for {', '.join(map(repr, unknown))}, which {self.path.name} does not have"
            raise InputError(self._operation(), received, f"leave them out: {has}")
        open_batch = self._batch_names() & names if batch is not None else set()
        return {**dict.fromkeys(sorted(open_batch), batch), **shapes}  # pyright: ignore[reportReturnType]

    def _sized(self, tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(replace(t, shape=tuple(self._sizes.get(size, size) for size in t.shape)) for t in tensors)  # pyright: ignore[reportArgumentType, reportCallIssue]

    def _piece_size(self, batch: int | None) -> int | None:
        """How many samples a session takes at once; None where it takes any number."""
        fixed = {t.shape[0] for t in self.inputs if t.shape and isinstance(t.shape[0], int)}
        if batch is not None and fixed - {batch}:
            received = f"batch={batch}, but {self.path.name} has a fixed batch of {min(fixed - {batch})}"
            raise InputError(self._operation(), received, "leave batch out, or export with a dynamic batch")
        return next(iter(fixed)) if len(fixed) == 1 else batch

    def _random(self, verb: str) -> list[torch.Tensor]:
        grids = self.metadata.get("inputs", {})
        return feed.random_inputs(self.inputs, grids, self._batch or 1, self._operation(verb))

    def _arrange(self, inputs: Sequence[Any], verb: str) -> tuple[list, int, int]:
        grids = self.metadata.get("inputs", {})
        values = feed.arrange(self.inputs, grids, tuple(inputs), self._operation(verb))
        return feed.pieces(values, self._batch)

    def _feed(self, part: list) -> dict:
        return {tensor.name: value for tensor, value in zip(self.inputs, part, strict=True)}

    def _run(self, session: Any, names: list[str], inputs: tuple, verb: str) -> dict[str, torch.Tensor]:
        """By name, outputs of the session and the inputs it was given, pieces put together."""
        operation = self._operation(verb)
        parts, count, total = self._arrange(inputs, verb)
        found: dict[str, list] = {name: [] for name in names}
        fetched = [name for name in names if name not in {tensor.name for tensor in self.inputs}]
        for part in parts:
            fed = self._feed(part)
            try:
                results = session.run(fetched, fed) if fetched else []
            except self._failures as error:
                raise self._failure(operation, error) from error
            for name in names:
                found[name].append(fed[name] if name not in fetched else results[fetched.index(name)])
        return {name: feed.join(name, values, count, total, operation) for name, values in found.items()}

    def _failure(self, operation: str, error: Exception) -> QnbError:
        """What to say of an error of a session's ``run``."""
        remedy = f"check the inputs against {'; '.join(map(str, self.inputs))}"
        return InputError(operation, f"{self.title} failed: {first_line(error)}", remedy)

    def _with_outputs(self, names: tuple[str, ...]) -> tuple[Any, dict[str, str], dict[str, torch.Tensor]]:
        """A session that returns these too, their names in it, and the values of those that no input changes."""
        with self._lock:
            if names not in self._extended or not self._usable(self._extended[names][0]):
                model, weights, outside = onnx_file.with_outputs(self.path, names, self._operation("values"))
                fixed = self._fixed_values(weights) if weights is not None else {}
                session = self._session_of(model, lambda source: self._session(source, self._sizes))
                self._extended.pop(names, None)
                while len(self._extended) >= self.kept:
                    self._extended.pop(next(iter(self._extended)))
                self._extended[names] = session, outside, fixed
            return self._extended[names]

    def _fixed_values(self, model: Any) -> dict[str, torch.Tensor]:
        """What a model without inputs returns; on the CPU, since other providers refuse to compute weights."""
        operation, options = self._operation("values"), session_options(self.threads, {})
        session = self._session_of(model, lambda s: open_session(s, options, ["CPUExecutionProvider"], operation))
        names = [output.name for output in session.get_outputs()]
        return {name: torch.from_numpy(value) for name, value in zip(names, session.run(names, {}), strict=True)}

    def _session_of(self, model: Any, open_: Callable[[str | bytes], Any]) -> Any:
        """A session of a changed model; one with weights or a binary in other files must lie beside them."""
        if not onnx_file.has_external_data(model) and not self._header.compiled:
            return open_(model.SerializeToString())
        try:
            handle, beside = tempfile.mkstemp(suffix=".onnx", dir=self.path.parent)
        except OSError as error:
            remedy = "copy the file and its weights to a folder that can be written"
            raise FileError(self._operation("values"), f"cannot write beside {self.path.name}", remedy) from error
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(model.SerializeToString())
            return open_(beside)
        finally:
            os.unlink(beside)
