"""Encodings files, read into a QuantSim: all of it, or nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from qnb.arguments import nearest
from qnb.errors import FileError
from qnb.export.encodings.entries import Encoding, Entry, short
from qnb.export.encodings.fit import Fit
from qnb.export.encodings.versions import read_1, read_2
from qnb.export.onnx.program import program
from qnb.export.onnx.tensors import FileTensor
from qnb.numerics import FloatGrid
from qnb.sim.quantizer import Quantizer
from qnb.sim.quantizer_state import unchanged_on_error

if TYPE_CHECKING:
    from os import PathLike

    from qnb.sim.quantsim import QuantSim

READERS = {"1.0.0": (("activation_encodings", "param_encodings"), read_1), "2.0.0": (("encodings",), read_2)}
AGAIN = "write the file again"
TOLERANCE = 1e-6
"""By how much, relatively, two scales may differ that are the same: float32 rounding of a factor."""


def load_encodings(sim: QuantSim, path: str | PathLike) -> None:
    """See `QuantSim.load_encodings`."""
    operation = f"QuantSim.load_encodings from {path}"
    try:
        _load(sim, operation, path)
    except RecursionError as error:
        raise FileError(operation, "the file is damaged: it is nested too deeply", AGAIN) from error


def _load(sim: QuantSim, operation: str, path: str | PathLike) -> None:
    entries, read = _entries(operation, path)
    with unchanged_on_error(sim):
        tensors = program(sim, quantized=False).tensors
        encodings = {name: read(e) for name, e in entries.items() if name in tensors and tensors[name].kind != "bias"}
        sources = _sources(tensors, encodings)
        fit = Fit(sim)
        for name in sources.values():
            fit.assign(tensors[name], entries[name], encodings[name])
        _agree(sim, fit, entries, read, sources)
        _complete(sim, operation)


def _entries(operation: str, path: str | PathLike):
    """Entries by tensor name, and the function that reads one."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(operation, str(error), "give the path of a file that export_encodings wrote") from error
    except (ValueError, RecursionError) as error:
        raise FileError(operation, f"the file is damaged ({error})", AGAIN) from error
    keys, read = READERS[_version(operation, content)]
    found: dict[str, Entry] = {}
    for key in keys:
        listed = content.get(key)
        if not isinstance(listed, list):
            raise FileError(operation, f"no list {key!r}, which this version has", AGAIN)
        for raw in listed:
            name = raw.get("name") if isinstance(raw, dict) else None
            if not isinstance(name, str):
                raise FileError(operation, f"an entry of {key!r} without a name", "name every tensor")
            if name in found:
                raise found[name].error("two entries", "delete one of them")
            found[name] = Entry(operation, name, raw)
    return found, read


def _version(operation: str, content) -> str:
    version = content.get("version") if isinstance(content, dict) else None
    if version is None:
        raise FileError(operation, "not an encodings file: it has no version", "export_encodings writes one")
    if isinstance(version, str) and version in READERS:
        return version
    known = " or ".join(READERS)
    numbers = re.fullmatch(r"(\d{1,6})\.(\d{1,6})\.(\d{1,6})", version) if isinstance(version, str) else None
    if numbers and [int(n) for n in numbers.groups()] > [int(n) for n in max(READERS).split(".")]:
        raise FileError(
            operation,
            f"a newer version of the format: {version}, and this qnb reads {known}",
            f"update qnb: pip install -U qnb; or write the file as version {known}",
        )
    raise FileError(operation, f"version {short(version)}", f"write it as version {known}")


def _sources(tensors: dict[str, FileTensor], encodings: dict[str, Encoding]) -> dict[Quantizer, str]:
    """The listed tensor that each quantizer takes its encoding from: its own before one that follows it."""
    found: dict[Quantizer, str] = {}
    for follows in (False, True):
        for name in tensors:
            if name in encodings and tensors[name].follows == follows:
                found.setdefault(tensors[name].quantizer, name)
    return found


def _agree(sim: QuantSim, fit: Fit, entries: dict[str, Entry], read, sources: dict[Quantizer, str]) -> None:
    """Every entry names a tensor and says what the sim now has. (Some names depend on the bit-widths.)"""
    tensors = program(sim, quantized=False).tensors
    own = sim.tensors()
    unknown = [n for n, e in entries.items() if n not in tensors and not e.is_int32 and not (e.is_float and n in own)]
    if unknown:
        near = ", ".join(map(repr, nearest(unknown[0], tensors, 3, 0.0))) or "none"
        operation = entries[unknown[0]].operation
        raise FileError(
            operation,
            f"{len(unknown)} of its tensors are not in this model, {unknown[0]!r} first; nearest are {near}",
            "use the file of this model, or rename its tensors",
        )
    for name, entry in entries.items():
        tensor = tensors.get(name)
        if tensor is None or tensor.kind == "bias":
            continue
        own, frozen = sources.get(tensor.quantizer) == name, tensor.quantizer.frozen
        if (not own or frozen) and not _same(fit, tensor, entry, read(entry)):
            if frozen:
                raise entry.error(
                    "another encoding than its layer's, which is frozen", "unfreeze it or delete the entry"
                )
            other = sources.get(tensor.quantizer, tensor.quantizer.name)  # pyright: ignore[reportCallIssue]
            raise entry.error(
                f"it shares its encoding with {other!r}, to which the file gives another one",
                "give both the same, or delete one entry",
            )


def _same(fit: Fit, tensor: FileTensor, entry: Entry, encoding: Encoding) -> bool:
    if encoding.floating and encoding.bits == 32:
        return not tensor.active
    ready = tensor.active and not tensor.quantizer.needs_calibration
    if not ready or encoding.floating != isinstance(tensor.grid, FloatGrid):
        return False
    if encoding.floating:
        return True
    grid, axis, scale, zero_point = fit.layout(tensor, entry, encoding)
    if grid.bits != tensor.grid.bits or axis != tensor.axis or scale.shape != tensor.scale.shape:
        return False
    close = torch.allclose(scale, tensor.scale.cpu(), rtol=TOLERANCE, atol=0.0)
    return close and torch.equal(zero_point - grid.qmin, tensor.zero_point.cpu() - tensor.grid.qmin)


def _complete(sim: QuantSim, operation: str) -> None:
    missing = [q.name for q in sim.quantizers() if q.active and q.needs_calibration]
    if missing:
        some = ", ".join(map(repr, missing[:3])) + (", ..." if len(missing) > 3 else "")
        raise FileError(
            operation,
            f"{len(missing)} quantized tensors have no encoding in it: {some}",
            "calibrate the sim first, or add them to the file",
        )
