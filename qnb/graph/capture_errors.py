"""Why torch.export refused a model: the user's line, its reason in one sentence, what to do about it."""

from __future__ import annotations

import re
import sysconfig
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from qnb.errors import CaptureError, InputError, QnbError
from qnb.graph.structure import Structure

if TYPE_CHECKING:
    from torch import nn

_OURS = (str(Path(torch.__file__).parent), str(Path(__file__).parents[1]), sysconfig.get_paths()["stdlib"])
_SITE = (sysconfig.get_paths()["purelib"], sysconfig.get_paths()["platlib"])

_REMEDIES = (
    (
        r"data-dependent|DataDependent|guard on|unbacked|control flow",
        "the line decides in Python by a tensor's value: use torch.where or torch.cond, or pass the value in as a "
        "plain number",
    ),
    (
        r"\.numpy\(\)|numpy|item\(\)|FakeTensor.*Tensor on data",
        "keep the computation in torch: no .numpy(), .item() or float(tensor) inside forward",
    ),
    (
        r"no fake impl|fake impl|meta kernel|Unsupported|not supported|NotImplemented",
        "the op cannot be traced: register a fake implementation (torch.library.register_fake), or replace the op",
    ),
    (r"dynamic|constraint|specializ", "let fewer dimensions vary with dynamic_shapes"),
)


def capture_error(model: nn.Module, called: Structure, inputs: list[torch.Tensor], error: Exception) -> QnbError:
    """The error to raise for a failed export; an InputError where the model itself fails on these inputs."""
    args, kwargs = called.build(inputs)
    try:
        with torch.no_grad():
            model(*args, **kwargs)
    except Exception as own:
        received = f"the model itself fails on example_inputs{at(own)}: {type(own).__name__}: {_first_line(own)}"
        remedy = "pass inputs that the model accepts; labels in a batch are dropped by qnb.inputs(loader)"
        return InputError("capture", received, remedy)
    text = f"{type(error).__name__}: {error}"
    remedy = next((r for pattern, r in _REMEDIES if re.search(pattern, text, re.IGNORECASE)), None)
    received = f"torch.export cannot take {type(model).__name__}{at(error)}: {_first_line(error)}"
    return CaptureError(
        "capture",
        received,
        remedy or "rewrite that line in a form torch.export takes, or leave that part out of the model",
    )


def at(error: BaseException) -> str:
    """`` at net.py:12 (x = y.item())`` for the innermost line of the user's, or nothing."""
    frames = []
    while error is not None:
        frames += [f for f in traceback.extract_tb(error.__traceback__) if is_users(f.filename)]
        error = error.__cause__ or error.__context__
    if not frames:
        return ""
    forward = [f for f in frames if f.name != "<module>"] or frames
    frame = forward[-1]
    return f" at {short(frame.filename)}:{frame.lineno}" + (f" ({frame.line})" if frame.line else "")


def is_users(filename: str) -> bool:
    """Whether a file is neither torch's, qnb's nor Python's own. Other packages' models count as the user's."""
    if filename.startswith("<") and not filename.startswith("<ipython"):
        return False
    return not filename.startswith(_OURS) or (filename.startswith(_SITE) and not filename.startswith(_OURS[:2]))


def short(filename: str) -> str:
    """A file's name without its folder; notebook cells are called so."""
    if "ipykernel_" in filename or filename.startswith("<ipython"):
        return "notebook cell"
    return Path(filename).name


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return text if len(text) <= 200 else text[:197] + "..."
