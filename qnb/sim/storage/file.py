"""A QuantSim as one file: tensors in safetensors, the graph and all settings as JSON in its header. No pickle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qnb import schema, tensor_file
from qnb.atomic import write_atomically
from qnb.errors import FileError
from qnb.sim.storage import packing
from qnb.sim.storage.packing import Make, Shared, Sim, Tensors

if TYPE_CHECKING:
    from os import PathLike

    from qnb.sim.base import SimBase

FORMAT, VERSION = "qnb.quantsim", 3
REMEDY = "save the sim again with sim.save(path)"


def dumps(sim: SimBase, shared: Shared | None = None) -> bytes:
    """The sim as bytes, to send to another process.

    Args:
        shared: a model that whoever reads them has already; it is left out.
    """
    header, tensors = packing.pack(sim, shared)
    return tensor_file.dumps(FORMAT, {"version": VERSION, **header}, tensors)


def save(sim: SimBase, path: str | PathLike) -> None:
    """Write the sim to ``path``; the file is replaced as a whole or not at all."""
    write_atomically(path, dumps(sim))


def load(make: Make[Sim], path: str | PathLike) -> Sim:
    """Read a sim that `save` wrote.

    Args:
        make: what makes a sim of a captured model: `QuantSim`.

    Raises:
        FileError: the file is missing, damaged, cut short, of another kind, or of a newer qnb.
    """
    operation = f"QuantSim.load({str(path)!r})"
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise FileError(operation, str(error), "check the path") from error
    return loads(make, data, operation)


def loads(
    make: Make[Sim], data: bytes, operation: str = "QuantSim.loads", remedy: str = REMEDY, shared: Shared | None = None
) -> Sim:
    """A sim from bytes that `dumps` made, with the same ``shared``."""
    return of(make, *read(data, operation, remedy), operation, remedy, shared)


def read(data: bytes, operation: str, remedy: str) -> tuple[dict, Tensors]:
    """(header, tensors) of a sim's bytes, in the form of today's version."""
    header, tensors = tensor_file.loads(data, FORMAT, operation, remedy)
    schema.check_version(header, "simulation", VERSION, operation)
    return header, tensors


def of(
    make: Make[Sim], header: dict, tensors: Tensors, operation: str, remedy: str, shared: Shared | None = None
) -> Sim:
    """The sim of what `read` gave.

    Raises:
        FileError: its parts do not match.
    """
    try:
        return packing.unpack(make, header, tensors, operation, remedy, shared)
    except FileError:
        raise
    except Exception as error:  # a graph of known ops whose parts do not fit: from torch, or from placing quantizers
        raise FileError(operation, f"the file is damaged ({type(error).__name__}: {error})", remedy) from error
