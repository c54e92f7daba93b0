"""A QuantSim as an ONNX file that integer runtimes load."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from qnb.errors import CalibrationError, ExportError, FileError, InputError
from qnb.export.onnx.float_model import batch_symbol, float_model
from qnb.export.onnx.program import Program, program
from qnb.numerics import FloatGrid
from qnb.progress import Report
from qnb.targets import Target

if TYPE_CHECKING:
    from os import PathLike

    import onnx_ir as ir

    from qnb.sim.quantsim import QuantSim

FORMS = ("qdq", "fp16", "fp32")
LARGEST_FILE = 2_000_000_000
"""Bytes of constants that one protobuf file can hold; more go into a file of their own beside it."""
IR_VERSION = 10
"""The file format version that came with opset 21."""


def export_onnx(
    sim: QuantSim,
    path: str | PathLike,
    *,
    form: str | None = None,
    batch: int | None = None,
    integer_io: bool = False,
    progress: Report | None = None,
) -> Path:
    """Write a QuantSim as ONNX (opset 21).

    Args:
        sim: a calibrated QuantSim.
        path: the ``.onnx`` file; it is replaced as a whole or not at all. Constants beyond 2 GB go to ``<path>.data``.
        form: ``"qdq"``: weights as integers (4 bits packed) behind DequantizeLinear, biases int32, and a
            QuantizeLinear and DequantizeLinear on every float activation between ops, those that are only moved or
            scaled included. ``"fp32"``: the same graph and tensor names, in floating point. ``"fp16"``: that with
            weights and arithmetic in float16, inputs and outputs float32. By default fp16 and fp32 simulations keep
            their own form, all others are written as qdq.
        batch: None keeps the batch variable where the model allows it; a number fixes it. Other dimensions have the
            example's sizes.
        integer_io: qdq: inputs and outputs are the integer codes themselves; the caller quantizes.
        progress: called as ``progress(done, total, message)``.

    Where the target's kernels have one activation width, an op between 8 and 16 bits computes in 16: its 8-bit inputs
    are widened to the same values, an 8-bit output is quantized to 16 bits first (`qnb.export.onnx.widths`).

    Tensor names are those of ``export_encodings``. The file's metadata (key ``qnb``) says which tensor is which
    layer's output and how inputs and outputs are quantized.

    Raises:
        CalibrationError, InputError, ExportError, FileError: before anything is written.
    """
    sim, path, form = sim.snapshot(), Path(path), form or default_form(sim)
    _check(sim, path, form, batch, integer_io)
    report = progress or (lambda *_: None)
    report(0, 3, f"translating {path.name}")
    exported = program(sim, quantized=form == "qdq")
    model = float_model(sim, exported, batch)
    report(1, 3, f"quantizing {path.name}")
    finish(model, exported, form, integer_io, sim.target)
    model.metadata_props["qnb"] = json.dumps(_metadata(sim, exported, form, integer_io))
    report(2, 3, f"writing {path.name}")
    write(model, path, half=form == "fp16")
    report(3, 3, f"wrote {path.name}")
    return path


def default_form(sim: QuantSim) -> str:
    """The form that is closest to what the sim computes."""
    return sim.precision.name if sim.precision.name in ("fp16", "fp32") else "qdq"


def finish(model: ir.Model, exported: Program, form: str, integer_io: bool, target: Target) -> None:
    """Names, quantization, and ops in the form that runtimes know."""
    from qnb.export.onnx.passes import drop_ones, global_pooling, signed_second_inputs, whole_gathers
    from qnb.export.onnx.qdq import name_tensors
    from qnb.export.onnx.recurrent_steps import share_grids, write_steps
    from qnb.export.onnx.widths import one_width

    write_steps(model, exported.recurrent, exported.tensors)
    drop_ones(model, exported.tensors)
    global_pooling(model)
    whole_gathers(model)
    name_tensors(model, exported.tensors, form == "qdq", integer_io)
    exported.narrowed = one_width(model, set(exported.layers.values()), target)
    signed_second_inputs(model)
    share_grids(model, exported.recurrent, exported.tensors)
    model.ir_version, model.producer_name = IR_VERSION, "qnb"
    _forget_types(model)


def _forget_types(model: ir.Model) -> None:
    """Shapes and types of inner values are inferred by whoever reads the file; in a small one they are a quarter."""
    graph = model.graph
    outside = {*graph.inputs, *graph.outputs}
    for value in (*graph.initializers.values(), *(o for node in graph for o in node.outputs)):
        if value not in outside:
            value.shape = value.type = None


def _check(sim: QuantSim, path: Path, form: str, batch: int | None, integer_io: bool) -> None:
    if form not in FORMS:
        raise InputError("export_onnx", f"form={form!r}", f"use one of {', '.join(FORMS)}")
    if not sim.calibrated and form == "qdq":
        raise CalibrationError("export_onnx", "the sim is not calibrated", "call sim.calibrate(batches) first")
    if integer_io and form != "qdq":
        raise InputError("export_onnx", f"integer_io=True with form={form!r}", "use form='qdq', or integer_io=False")
    if batch is not None and (isinstance(batch, bool) or not isinstance(batch, int) or batch < 1):
        raise InputError("export_onnx", f"batch={batch!r}", "use a positive number, or None to keep it variable")
    first = next((i.shape[0] for i in sim.captured.inputs if i.shape), None)
    if batch is not None and batch_symbol(sim.captured) is None and first != batch:
        raise InputError(
            "export_onnx",
            f"batch={batch}; the capture fixed it at {first}",
            "leave batch out, or capture with dynamic_shapes that let it vary",
        )
    if not path.parent.is_dir():
        raise FileError(f"export_onnx to {path}", "the folder does not exist", "create it first")


def _metadata(sim: QuantSim, exported: Program, form: str, integer_io: bool) -> dict:
    """What a runtime needs to know about the file."""
    tensors = exported.tensors if form == "qdq" else {}
    codes = {
        name: {"grid": t.stored[0].name, "scale": float(t.scale), "zero_point": int(t.stored[1])}
        for name, t in tensors.items()
        if t.active and t.constant is None and not isinstance(t.grid, FloatGrid)
    }
    kept = codes if integer_io else {}
    return {
        "version": 1,
        "form": form,
        "precision": sim.precision.name,
        "target": sim.target.name,
        "inputs": {n: kept[n] for n in exported.inputs if n in kept},
        "outputs": {n: kept[n] for n in exported.outputs if n in kept},
        "layers": [
            {"layer": layer, "tensor": _observed(name, exported) if name in codes else name, "codes": codes.get(name)}
            for layer, name in exported.layers.items()
        ],
    }


def _observed(name: str, exported: Program) -> str:
    """Where to read a tensor: its codes, or the values that they are found from where HTP does not give out both."""
    if name in exported.outputs:
        return name
    return f"{name}_dequantized" if name in exported.narrowed else f"{name}_quantized"


def write(model: ir.Model, path: Path, half: bool = False) -> None:
    """Check a model and put it in place of ``path``, its data file first.

    Raises:
        ExportError: the ONNX checker found a fault.
        FileError: the folder cannot be written.
    """
    import onnx
    import onnx_ir as ir

    try:
        folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    except OSError as error:
        raise FileError(f"export_onnx to {path}", str(error), "choose a folder that can be written") from error
    try:
        data = f"{path.name}.data" if _bytes(model) > LARGEST_FILE else None
        ir.save(model, folder / path.name, external_data=data)
        if half:
            _halve(folder / path.name, data)
        try:
            onnx.checker.check_model(str(folder / path.name), full_check=True)
        except Exception as error:
            reason = str(error).strip().splitlines()[0]
            raise ExportError("export_onnx", f"the ONNX checker says: {reason}", "report it with the model") from error
        for name in (data, path.name):
            if name is not None:
                os.replace(folder / name, path.parent / name)
    except OSError as error:
        raise FileError(f"export_onnx to {path}", str(error), "choose a file that can be written") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _bytes(model) -> int:
    return sum(v.const_value.nbytes for v in model.graph.initializers.values() if v.const_value is not None)


def _halve(path: Path, data: str | None) -> None:
    """Constants and arithmetic in float16; what float16 has no kernels for stays float32 between casts."""
    import onnx
    import onnx_ir as ir
    from onnxruntime.transformers.float16 import convert_float_to_float16

    proto = convert_float_to_float16(onnx.load(path), keep_io_types=True, disable_shape_infer=data is not None)
    model = ir.from_proto(proto)
    model.graph.sort()  # the converter puts its casts last
    ir.save(model, path, external_data=data)
