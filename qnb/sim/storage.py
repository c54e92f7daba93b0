"""A QuantSim as one file: tensors in safetensors, the graph and all settings as JSON in its header. No pickle."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from qnb import targets
from qnb.errors import FileError, QnbError
from qnb.graph.attributes import set_tensor
from qnb.graph.serialize import from_json, to_json
from qnb.numerics import FloatGrid, Grid, Precision
from qnb.sim.quantizer import BiasQuantizer, Quantizer

FORMAT, VERSION = "qnb.quantsim", 1
_ENCODING = ("scale", "zero_point", "minimum", "maximum")


def dumps(sim) -> bytes:
    """The sim as bytes, to send to another process."""
    from safetensors.torch import save

    header, tensors = _pack(sim)
    return save(tensors, {FORMAT: json.dumps(header)})


def save(sim, path) -> None:
    """Write the sim to ``path``; the file is replaced as a whole or not at all."""
    write_atomically(path, dumps(sim))


def write_atomically(path, data: bytes) -> None:
    """Write beside the target, then rename: a reader never sees half a file.

    Raises:
        FileError: the folder is missing or not writable.
    """
    path = Path(path)
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise FileError(f"save {path}", str(error), "choose a folder that exists and can be written") from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def load(path):
    """Read a sim that `save` wrote.

    Raises:
        FileError: the file is missing, damaged, cut short, or of another kind.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FileError(f"QuantSim.load({str(path)!r})", str(error), "check the path") from error
    return loads(data, f"QuantSim.load({str(path)!r})")


def loads(data: bytes, operation: str = "QuantSim.loads"):
    """A sim from bytes that `dumps` made."""
    remedy = "save the sim again with sim.save(path)"
    try:
        header = _header(data)
        if header is None:
            raise FileError(operation, "not a file that QuantSim.save wrote", remedy)
        if header.get("version", 0) > VERSION:
            raise FileError(operation, f"format version {header['version']}, newer than {VERSION}", "update qnb")
        from safetensors.torch import load as load_tensors

        return _unpack(header, load_tensors(data))
    except QnbError:
        raise
    except Exception as error:
        raise FileError(operation, f"the file is damaged ({type(error).__name__}: {error})", remedy) from error


def _header(data: bytes) -> dict[str, Any] | None:
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > len(data) - 8:
        raise FileError("QuantSim.load", "the file is cut short or not a safetensors file", "save the sim again")
    metadata = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    return json.loads(metadata[FORMAT]) if FORMAT in metadata else None


def _pack(sim) -> tuple[dict, dict[str, torch.Tensor]]:
    graph, reference = to_json(sim.captured)
    tensors = {f"reference/{name}": t for name, t in reference.items()}
    if not sim._shared:
        for name, tensor in sim.tensors().items():
            if not torch.equal(tensor.detach().cpu(), reference[name].detach().cpu()):
                tensors[f"model/{name}"] = tensor
    quantizers: dict[str, dict] = {}
    for name, module in _quantizers(sim):
        quantizers[name] = {"enabled": module.enabled}
        if isinstance(module, Quantizer):
            quantizers[name] |= {"grid": grid_to_json(module.grid), "axis": module.axis}
            for part in _ENCODING:
                if getattr(module, part) is not None:
                    tensors[f"{part}/{name}"] = getattr(module, part)
    header = {
        "version": VERSION, "graph": graph, "target": sim.target.name, "quantizers": quantizers,
        "applied": list(sim.applied), "weights_settled": sim.weights_settled,
        "precision": {"name": sim.precision.name, "weights": grid_to_json(sim.precision.weights),
                      "activations": grid_to_json(sim.precision.activations)},
    }  # fmt: skip
    return header, {k: t.detach().cpu().contiguous().clone() for k, t in tensors.items()}


def _unpack(header: dict, tensors: dict[str, torch.Tensor]):
    from qnb.sim.quantsim import QuantSim

    reference = {k.removeprefix("reference/"): t for k, t in tensors.items() if k.startswith("reference/")}
    captured = from_json(header["graph"], reference)
    precision = Precision(*(grid_from_json(header["precision"][side]) for side in ("weights", "activations")))
    sim = QuantSim(captured, precision=precision, target=targets.get(header["target"]))
    sim.applied, sim.weights_settled = tuple(header.get("applied", ())), bool(header.get("weights_settled", False))
    stored = header["quantizers"]
    for name, module in _quantizers(sim):
        module.enabled = bool(stored[name]["enabled"])
        if isinstance(module, Quantizer):
            module.grid, module.axis = grid_from_json(stored[name]["grid"]), stored[name]["axis"]
            parts = {part: tensors.get(f"{part}/{name}") for part in _ENCODING}
            module.minimum, module.maximum = parts["minimum"], parts["maximum"]
            if parts["scale"] is not None:
                module.set_encoding(parts["scale"], parts["zero_point"])
    for key, tensor in tensors.items():
        if key.startswith("model/"):
            sim.own_tensors()
            name = key.removeprefix("model/")
            old = sim.tensors()[name]
            set_tensor(sim.graph_module, name, nn.Parameter(tensor) if isinstance(old, nn.Parameter) else tensor)
    return sim


def _quantizers(sim) -> list[tuple[str, Quantizer | BiasQuantizer]]:
    modules = sim.graph_module.named_modules()
    return [(name, m) for name, m in modules if isinstance(m, (Quantizer, BiasQuantizer))]


def grid_to_json(grid: Grid | FloatGrid | None) -> dict | None:
    return None if grid is None else {"kind": type(grid).__name__, **asdict(grid)}


def grid_from_json(stored: dict | None) -> Grid | FloatGrid | None:
    if stored is None:
        return None
    kinds = {"Grid": Grid, "FloatGrid": FloatGrid}
    return kinds[stored["kind"]](**{k: v for k, v in stored.items() if k != "kind"})
