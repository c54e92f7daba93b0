"""How well a simulation predicts what a runtime computes: at the outputs and at every layer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import fx

from qnb import columns
from qnb.errors import CalibrationError, InputError
from qnb.graph.batches import length, reiterable
from qnb.measures.layers.error import ErrorStats
from qnb.progress import Report
from qnb.runtimes.runtime import Runtime

if TYPE_CHECKING:
    from qnb.sim.base import SimBase


def fidelity(sim: SimBase, runtime: Runtime, batches: Iterable, *, progress: Report | None = None) -> pd.DataFrame:
    """Compare a simulation with a runtime, in one pass over the data.

    Args:
        sim: the QuantSim (or ``sim.exact(...)``) that the runtime's file was exported from.
        runtime: of a file that `qnb.export_onnx` wrote.
        batches: re-iterable of tensors, tuples or dicts, as the model takes them.
        progress: called as ``progress(done, total, message)`` after each batch.

    Returns:
        One row per layer in graph order, then one per output, columns `qnb.columns.FIDELITY`. ``sqnr_db``: the
        runtime's values over their difference from the simulation's, accumulated from the inputs on; ``inf`` where
        there is none. ``max_steps``, ``equal_fraction``, ``within_one_fraction``: of the integer codes; NaN for
        layers that are not quantized. ``top1_agreement``: share of outputs whose largest element is the same one.
        Of integers and booleans, class numbers for example: ``equal_fraction`` and ``top1_agreement`` are the share
        that is the same. Outputs are those of the file as it is; layers those of a copy that returns them too.

    Raises:
        CalibrationError, InputError: before anything runs.
    """
    if not sim.calibrated:
        raise CalibrationError("fidelity", "the sim is not calibrated", "call sim.calibrate(batches) first")
    known = {entry["layer"]: entry for entry in runtime.metadata.get("layers", ())}
    missing = [g.layer for g in sim.groups if g.layer not in known]
    if missing:
        raise InputError(
            "fidelity",
            f"{runtime.path.name}, which does not say where layer {missing[0]!r} is",
            "export this sim with qnb.export_onnx and pass a runtime of that file",
        )
    sim, batches = sim.snapshot(), reiterable(batches, "fidelity")
    rows = {g.layer: _Row(g.layer, g.op, known[g.layer]["codes"]) for g in sim.groups}
    codes = dict(runtime.metadata.get("outputs", ())) | {e["tensor"]: e["codes"] for e in known.values()}
    outputs = {t.name: _Row(t.name, "output", codes.get(t.name)) for t in runtime.outputs}
    names = [*dict.fromkeys(known[layer]["tensor"] for layer in rows)]
    done, total = 0, length(batches)
    for batch in batches:
        flat = sim.flatten(batch, "fidelity")
        found = runtime.values(names, *flat) if names else {}
        given = runtime.run(*flat)
        given = given if isinstance(given, tuple) else (given,)
        watch = _Watch(sim, lambda layer, x, found=found: rows[layer].update(found[known[layer]["tensor"]], x))
        with torch.no_grad():
            results = watch.run(*flat)
        for row, value, simulated in zip(outputs.values(), given, results, strict=True):
            row.update(value, simulated)
        done += 1
        if progress is not None:
            progress(done, total, f"comparing with {runtime.title}")
    if not done:
        raise InputError("fidelity", "the loader gave no batch", "pass at least one batch")
    return pd.DataFrame([r.row() for r in (*rows.values(), *outputs.values())], columns=list(columns.FIDELITY))


class _Watch(fx.Interpreter):
    """Runs a sim's graph and shows every layer's simulated output."""

    def __init__(self, sim: SimBase, see):
        super().__init__(sim.graph_module)
        self.layer_of, self.see = {g.output: g.layer for g in sim.groups}, see

    def run_node(self, n: fx.Node):
        value = super().run_node(n)
        source = n.meta.get("quantizes") if n.op == "call_module" else None
        if source is not None and source.name in self.layer_of:
            self.see(self.layer_of[source.name], value)
        return value


class _Row:
    """Streaming figures of one tensor."""

    def __init__(self, name: str, op: str, codes: dict | None):
        self.name, self.op, self.codes = name, op, codes
        self.stats = ErrorStats()
        self.equal = self.near = self.same = self.samples = self.steps = 0
        self.whole = False

    def update(self, found: torch.Tensor, simulated: torch.Tensor) -> None:
        """``found``: the runtime's codes, or values; ``simulated``: the sim's values."""
        found, simulated = self._alike(found, simulated.detach().cpu())
        if not simulated.is_floating_point():
            self.whole = True
            self.same, self.samples = self.same + int((found == simulated).sum()), self.samples + simulated.numel()
            self.stats.update(found.float(), simulated.float())
            return
        if self.codes is None:
            both = torch.isinf(found) & (found == simulated)  # what is masked out: no difference, and no signal
            self.stats.update(found.float().masked_fill(both, 0), simulated.float().masked_fill(both, 0))
        else:
            mine, theirs = (self._steps(x) for x in (simulated, found))
            difference = (mine - theirs).abs()
            self.equal += int((difference == 0).sum())
            self.near += int((difference <= 1).sum())
            self.steps = max(self.steps, int(difference.max()) if difference.numel() else 0)
            scale = self.codes["scale"]
            self.stats.update((theirs * scale).float(), (mine * scale).float())
            found = theirs
        if self.op == "output" and simulated.dim() > 1 and simulated.shape[-1] > 1:
            self.same += int((found.argmax(-1) == simulated.argmax(-1)).sum())
            self.samples += simulated.numel() // simulated.shape[-1]

    def _alike(self, found: torch.Tensor, simulated: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """In one shape: what samples share (position embeddings) comes once, or once for each piece of a batch."""
        try:
            return torch.broadcast_tensors(found, simulated)
        except RuntimeError:
            raise InputError(
                "fidelity",
                f"{self.name!r} has shape {list(found.shape)} in the file, {list(simulated.shape)} in the sim",
                "export this sim again",
            ) from None

    def _steps(self, x: torch.Tensor) -> torch.Tensor:
        """Distance from zero in steps, float64 integers."""
        if x.is_floating_point():
            return torch.round(x.double() / self.codes["scale"])
        return x.double() - self.codes["zero_point"]

    def row(self) -> dict:
        numel, nan = self.stats.numel, float("nan")
        quantized = self.codes is not None and numel > 0 and not self.whole
        same = self.same / self.samples if self.samples else nan
        return {
            "layer": self.name,
            "op": self.op,
            "sqnr_db": self.stats.sqnr_db,
            "max_steps": self.steps if quantized else nan,
            "equal_fraction": self.equal / numel if quantized else same if self.whole else nan,
            "within_one_fraction": self.near / numel if quantized else nan,
            "top1_agreement": same,
            "numel": numel,
        }
