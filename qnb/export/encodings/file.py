"""Encodings files: scale and offset of every quantized tensor, for ``qairt-converter --quantization_overrides``.

Version 1.0.0 has two lists, ``activation_encodings`` and ``param_encodings``, whose offsets count from the lowest
code: ``value = (code + offset) * scale`` with codes from 0, so -128 for symmetric 8 bits and -zero_point for an
asymmetric grid. Scales per block are flattened in the tensor's own order. Version 2.0.0 has one list with ONNX's
terms: ``output_dtype``, ``y_scale``, ``y_zero_point`` (left out where 0), ``axis``, ``block_size``; activations are
unsigned there, parameters on symmetric grids signed, and float16 tensors have no entry.

Source: AIMET's encoding format specification, and what AIMET 2 writes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from qnb import __version__
from qnb.atomic import write_atomically
from qnb.errors import CalibrationError, ExportError, FileError, InputError
from qnb.export.onnx.program import program
from qnb.export.onnx.tensors import FileTensor
from qnb.methods import METHODS
from qnb.numerics import FloatGrid, Grid
from qnb.ranges import RULES

if TYPE_CHECKING:
    from os import PathLike

    from qnb.sim.quantsim import QuantSim


def export_encodings(sim: QuantSim, path: str | PathLike, version: str = "1.0.0") -> Path:
    """Write the encodings of a QuantSim.

    Args:
        sim: a calibrated QuantSim.
        path: the JSON file, for example ``model.encodings``; it is replaced as a whole or not at all.
        version: of the format: ``"1.0.0"`` or ``"2.0.0"``.

    Tensor names are those of ``export_onnx``. Every active quantized tensor has an entry: inputs, activations (those
    that are only moved or scaled too), weights, constants and int32 biases. `QuantSim.load_encodings` reads the file.

    Raises:
        CalibrationError: the sim is not calibrated.
        InputError: a version that does not exist.
        ExportError: a number format that the file cannot name (bf16, fp8).
        FileError: the folder does not exist or cannot be written.
    """
    sim, path = sim.snapshot(), Path(path)
    operation = f"export_encodings to {path}"
    if version not in WRITERS:
        raise InputError("export_encodings", f"version={version!r}", f"use one of {', '.join(WRITERS)}")
    if not sim.calibrated:
        raise CalibrationError("export_encodings", "the sim is not calibrated", "call sim.calibrate(batches) first")
    if not path.parent.is_dir():
        raise FileError(operation, "the folder does not exist", "create it first")
    if path.is_dir():
        raise FileError(operation, "that is a folder", "give the name of a file in it")
    tensors = [t for t in program(sim, quantized=False).tensors.values() if t.active]
    for tensor in tensors:
        if isinstance(tensor.grid, FloatGrid) and tensor.grid.name != "fp16":
            received = f"tensor {tensor.name!r} is {tensor.grid.name}, which the format lacks"
            raise ExportError("export_encodings", received, "use fp16, or integers")
    content = {"producer": f"qnb {__version__}", "version": version} | WRITERS[version](sim, tensors)
    write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())
    return path


def _content_1(sim: QuantSim, tensors: list[FileTensor]) -> dict:
    return {
        "activation_encodings": [_entry_1(t) for t in tensors if t.constant is None],
        "param_encodings": [_entry_1(t) for t in tensors if t.constant is not None],
        "excluded_layers": [],
        "quantizer_args": _arguments(sim),
    }


def _arguments(sim: QuantSim) -> dict:
    """The settings behind the encodings, for whoever reads the file; no tool computes with them."""
    weights, activations = sim.precision.weights, sim.precision.activations
    bits = [grid.bits if grid is not None else 32 for grid in (activations, weights)]
    return {
        "activation_bitwidth": bits[0],
        "param_bitwidth": bits[1],
        "dtype": "int" if isinstance(weights, Grid) or isinstance(activations, Grid) else "float",
        "is_symmetric": weights is None or weights.symmetric,
        "per_channel_quantization": weights is not None and weights.granularity != "tensor",
        **_scheme(sim),
    }


def _scheme(sim: QuantSim) -> dict[str, str]:
    """The one rule that all ranges come from; nothing where there are several, where ranges were searched for or
    learned, or where AIMET has no word for it."""
    chosen = any(METHODS[name].stage in ("range", "train") for name in sim.applied_methods)
    rules = {
        q.rule[0] if q.rule else None
        for q in map(sim.activation, sim.plan.activations)
        if q.active and isinstance(q.grid, Grid) and q.fixed is None
    }
    name = rules.pop() if len(rules) == 1 and not chosen else None
    return {"quant_scheme": RULES[name].scheme} if name and RULES[name].scheme else {}


def _entry_1(tensor: FileTensor) -> dict:
    grid = tensor.grid
    if isinstance(grid, FloatGrid):
        return {"name": tensor.name, "dtype": "FLOAT", "enc_type": "PER_TENSOR", "bw": grid.bits}
    zero_point = tensor.zero_point.long()
    kind = "PER_TENSOR" if tensor.axis is None else "PER_BLOCK" if tensor.block_size else "PER_CHANNEL"
    return {
        "name": tensor.name,
        "dtype": "INT",
        "enc_type": kind,
        "bw": grid.bits,
        "is_sym": grid.symmetric and not zero_point.any().item(),
        **({"block_size": tensor.block_size} if tensor.block_size else {}),
        "scale": tensor.scale.float().flatten().tolist(),
        "offset": (grid.qmin - zero_point).flatten().tolist(),
    }


def _content_2(sim: QuantSim, tensors: list[FileTensor]) -> dict:
    return {"encodings": [_entry_2(t) for t in tensors if not isinstance(t.grid, FloatGrid)]}


def _entry_2(tensor: FileTensor) -> dict:
    grid, zero_point = tensor.grid, tensor.zero_point.long()
    signed = grid.symmetric and tensor.constant is not None
    if not signed:
        zero_point = zero_point - grid.qmin
    scale = tensor.scale.float()
    if tensor.axis is None:
        scale, zero_point = scale.reshape(()), zero_point.reshape(())
    optional = {
        "y_zero_point": zero_point.tolist() if zero_point.any() else None,
        "axis": tensor.axis,
        "block_size": tensor.block_size,
    }
    return {
        "name": tensor.name,
        "output_dtype": f"{'' if signed else 'u'}int{grid.bits}",
        "y_scale": scale.tolist(),
        **{key: value for key, value in optional.items() if value is not None},
    }


WRITERS = {"1.0.0": _content_1, "2.0.0": _content_2}
