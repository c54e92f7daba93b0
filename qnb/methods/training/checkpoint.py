"""A training as one file, to go on from: tensors in safetensors, the rest as JSON in its header. No pickle."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from qnb.atomic import write_atomically
from qnb.errors import FileError
from qnb.graph.serialize import to_json

if TYPE_CHECKING:
    from os import PathLike

    from qnb.sim.quantizer import Quantizer
    from qnb.sim.quantsim import QuantSim

FORMAT, VERSION = "qnb.training", 1


class Checkpoint:
    """A file that holds one training and knows which.

    Args:
        path: where; its folder must exist.
        identity: plain values by name, that must be equal for a training to go on: `identity`.
        resume: False reads nothing; what is there is replaced.
    """

    def __init__(self, path: str | PathLike, identity: dict[str, Any], resume: bool = True):
        self.resume, self.path, self.identity = resume, Path(path), json.loads(json.dumps(identity))
        self.operation = f"qnb.methods.train(checkpoint={str(self.path)!r})"

    def write(self, state: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        """Replace the file as a whole.

        Args:
            state: what JSON can hold.
            tensors: by name; they may change afterwards.
        """
        from safetensors.torch import save

        header = {"version": VERSION, "identity": self.identity, "state": state}
        own = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
        write_atomically(self.path, save(own, {FORMAT: json.dumps(header)}))

    def read(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]] | None:
        """``(state, tensors)`` as written; None where there is no file.

        Raises:
            FileError: damaged, of another kind, or of a training with another identity.
        """
        if not self.resume or not self.path.exists():
            return None
        remedy = "name another file, or start over with resume=False"
        try:
            header, tensors = _parse(self.path.read_bytes())
        except Exception as error:
            raise FileError(self.operation, f"no checkpoint, or a damaged one ({error})", remedy) from error
        if header["version"] > VERSION:
            raise FileError(self.operation, f"format version {header['version']}, newer than {VERSION}", "update qnb")
        for name, value in self.identity.items():
            stored = header["identity"].get(name)
            if stored != value:
                raise FileError(self.operation, f"a training of another {name}{_difference(stored, value)}", remedy)
        return header["state"], tensors


def _parse(data: bytes) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    from safetensors.torch import load

    length = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    return json.loads(metadata[FORMAT]), load(data)


def _difference(stored, value) -> str:
    """The first option that differs, where the two are options."""
    if not isinstance(stored, dict) or not isinstance(value, dict):
        return ""
    name = next(n for n in {**stored, **value} if stored.get(n) != value.get(n))
    return f": {name} was {stored.get(name)!r}, now it is {value.get(name)!r}"


def identity(sim: QuantSim, options: dict[str, Any]) -> dict[str, Any]:
    """What a training is of: the FP32 model with its numbers, the grids, the target, the options."""
    graph, tensors = to_json(sim.captured, readable=False)
    digest = hashlib.sha256(json.dumps(graph, sort_keys=True, default=str).encode())
    for name in sorted(tensors):
        digest.update(tensors[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    precision = {f"{layer} ({kind})": _grid(q) for layer, kind, q in sim.sites()}
    return {"model": digest.hexdigest(), "precision": precision, "target": sim.target.name, "options": options}


def _grid(quantizer: Quantizer) -> str:
    """``"int4 per channel"``."""
    if not quantizer.enabled:
        return "off"
    grid = getattr(quantizer, "grid", None)
    block = f" of {grid.block_size}" if grid is not None and grid.block_size else ""
    return "float" if grid is None else f"{grid.name} per {grid.granularity}{block}"


def optimizer_state(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """``(plain values, tensors)`` by ``"parameter/name"``.

    Raises:
        FileError: it holds anything else.
    """
    plain, tensors = {}, {}
    for index, entries in optimizer.state_dict()["state"].items():
        for name, value in entries.items():
            if isinstance(value, torch.Tensor):
                tensors[f"{index}/{name}"] = value
            elif value is None or isinstance(value, bool | int | float | str):
                plain[f"{index}/{name}"] = value
            else:
                raise FileError(
                    "qnb.methods.train",
                    f"an optimizer that keeps a {type(value).__name__} ({name!r})",
                    "train without checkpoint, or with another optimizer",
                )
    return plain, tensors


def load_optimizer_state(optimizer: torch.optim.Optimizer, values: dict[str, Any]) -> None:
    """Put back what `optimizer_state` gave, plain values and tensors together."""
    state: dict[int, dict[str, Any]] = {}
    for key, value in values.items():
        index, _, name = key.partition("/")
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
