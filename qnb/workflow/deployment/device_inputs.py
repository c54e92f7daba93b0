"""Inputs for a device and the expected outputs: samples as raw files, and the simulation's outputs for them.

``qnn-net-run`` takes a list with a line per inference, whose files hold a tensor's elements and nothing else, row by
row. It reads and writes float32 whatever the graph computes in, unless it is told to take files as the graph has them
(``--use_native_input_files``, ``--use_native_output_files``): then quantized tensors are their codes, unsigned in 8 or
16 bits, and 64-bit integers are 32-bit ones. Its outputs are ``Result_<line>/<tensor>.raw``, codes ``..._native.raw``;
`EXPECTED` has the same names. Source: the tools' pages in Qualcomm's QAIRT documentation.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from qnb import __version__
from qnb.errors import InputError
from qnb.export.onnx.program import Program, program
from qnb.export.onnx.tensors import FileTensor, Names
from qnb.numerics import Grid, quantize

if TYPE_CHECKING:
    from qnb.graph.captured import Captured
    from qnb.sim.quantsim import QuantSim
    from qnb.workflow.workflow import Workflow

INPUTS, EXPECTED, LIST, CONTENTS = "inputs", "expected", "input_list.txt", "tensors.json"
MOST_SAMPLES = 4
"""A device need not see all that layers were compared on: a few show whether it computes the same."""
SEARCHED_BATCHES = 64
_INTEGERS = {torch.int64: torch.int32, torch.bool: torch.uint8}
"""What QNN makes of types that it lacks."""


@dataclass(frozen=True)
class Raw:
    """A tensor as files hold it.

    Args:
        name: as QNN has it, with no other characters than letters, digits and underscores.
        dtype: of an element.
        shape: of one inference.
        codes: the encoding whose codes the file holds; None for values.
    """

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    codes: FileTensor | None = None

    @property
    def size_bytes(self) -> int:
        return prod(self.shape) * self.dtype.itemsize

    def data(self, value: torch.Tensor) -> bytes:
        value = value.detach().cpu()
        if self.codes is not None:
            grid, zero_point = self.codes.stored
            value = quantize(value.float(), self.codes.scale.cpu(), zero_point.cpu(), grid.name)
        return value.to(self.dtype).contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def write(flow: Workflow, sim: QuantSim, folder: Path, stem: str, count: int, native: bool) -> dict[str, Path]:
    """Write inputs, their list, and the outputs that a simulation expects for them.

    Args:
        flow: whose calibration data's first samples are taken.
        stem: the run's name as a file name: several runs may have their files in one folder.
        count: how many samples; no more than `MOST_SAMPLES` are written.
        native: codes in place of float32, for a graph whose inputs and outputs are integers.

    Returns:
        role to what was written, as `qnb.workflow.deployment.deploy` names it.

    Raises:
        InputError: no sample has the sizes that the files are written for.
    """
    sim = sim.snapshot()
    chosen = list(islice(samples(flow, sim), min(count, MOST_SAMPLES)))
    if not chosen:
        captured = zip(sim.captured.inputs, sizes(sim.captured), strict=True)
        wanted = ", ".join(f"{described.name} {list(size)}" for described, size in captured)
        raise InputError(
            "flow.deploy",
            f"no calibration sample of the sizes that the files are written for: {wanted}",
            "give the Workflow example_inputs of the sizes of its data",
        )
    exported = program(sim, quantized=False)
    with torch.no_grad():
        outputs = [sim.run_flat(sample) for sample in chosen]
    sim.drop_cache()
    taken = _raws(exported, exported.inputs, chosen[0], native)
    given = _raws(exported, exported.outputs, outputs[0], native)
    lines = []
    for number, (sample, answer) in enumerate(zip(chosen, outputs, strict=True)):
        names = [f"{INPUTS}/{stem}/{number}-{raw.name}.raw" for raw in taken]
        _save(folder, dict(zip(names, zip(taken, sample, strict=True), strict=True)))
        ends = ["_native.raw" if native and raw.dtype != torch.float32 else ".raw" for raw in given]
        found = [f"{EXPECTED}/{stem}/Result_{number}/{raw.name}{end}" for raw, end in zip(given, ends, strict=True)]
        _save(folder, dict(zip(found, zip(given, answer, strict=True), strict=True)))
        several = len(taken) > 1
        lines.append(" ".join(f"{r.name}:={n}" if several else n for r, n in zip(taken, names, strict=True)))
    made = {"inputs": folder / INPUTS / stem, "expected": folder / EXPECTED / stem}
    (made["inputs"] / LIST).write_text("\n".join(lines) + "\n")
    _describe(made["inputs"], taken)
    _describe(made["expected"], given)
    return made


def samples(flow: Workflow, sim: QuantSim) -> Iterator[list[torch.Tensor]]:
    """Flat inputs, one sample each where the batch varies: of the calibration data, or else of the example."""
    wanted, found = sizes(sim.captured), False
    example = [] if flow.example_inputs is None else [flow.example_inputs]
    for source in (islice(iter(flow.batches), SEARCHED_BATCHES), example):
        for flat in chain.from_iterable(_single(sim, batch) for batch in source):
            if all(tuple(x.shape) == size for x, size in zip(flat, wanted, strict=True)):
                found = True
                yield flat
        if found:
            return


def _single(sim: QuantSim, batch: Any) -> Iterator[list[torch.Tensor]]:
    """The samples of a batch; the batch itself where its size is fixed."""
    flat = sim.flatten(batch, "flow.deploy")
    varies = [bool(i.shape) and isinstance(i.shape[0], str) for i in sim.captured.inputs]
    count = max((len(x) for x, open_ in zip(flat, varies, strict=True) if open_), default=1)
    for index in range(count):
        yield [x[index : index + 1] if open_ and len(x) > 1 else x for x, open_ in zip(flat, varies, strict=True)]


def sizes(captured: Captured) -> list[tuple[int, ...]]:
    """Each input's sizes in a file with a batch of one, where the batch varies; others are the example's."""
    nodes = [n for n in captured.module.graph.nodes if n.op == "placeholder"]
    return [
        tuple(
            1 if axis == 0 and isinstance(described.shape[0], str) else int(size)
            for axis, size in enumerate(node.meta["val"].shape)
        )
        for described, node in zip(captured.inputs, nodes, strict=True)
    ]


def qnn_name(name: str) -> str:
    """A tensor's name in a QNN graph."""
    return re.sub(r"\W", "_", name, flags=re.ASCII)


def _raws(exported: Program, names: list[str], values, native: bool) -> list[Raw]:
    """As files hold them; names that QNN's characters make equal are numbered."""
    unique, found = Names(), []
    for name, value in zip(names, values, strict=True):
        found.append(_raw(unique(qnn_name(name)), value, exported.tensors.get(name), native))
    return found


def _raw(name: str, value: torch.Tensor, tensor: FileTensor | None, native: bool) -> Raw:
    shape = tuple(value.shape)
    if not native:
        return Raw(name, torch.float32, shape)
    if tensor is None or not tensor.active:
        return Raw(name, _INTEGERS.get(value.dtype, value.dtype), shape)
    if not isinstance(tensor.grid, Grid):
        return Raw(name, torch.float16, shape)
    return Raw(name, torch.uint8 if tensor.grid.bits <= 8 else torch.uint16, shape, tensor)


def _save(folder: Path, files: dict[str, tuple[Raw, torch.Tensor]]) -> None:
    for name, (raw, value) in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw.data(value))


def _describe(folder: Path, raws: list[Raw]) -> None:
    """Write an index of the raw files: which there are, and what they hold."""
    files = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    tensors = [{"name": r.name, "dtype": str(r.dtype).removeprefix("torch."), "shape": list(r.shape)} for r in raws]
    content = {"producer": f"qnb {__version__}", "tensors": tensors, "files": files}
    (folder / CONTENTS).write_text(json.dumps(content, indent=1) + "\n")
