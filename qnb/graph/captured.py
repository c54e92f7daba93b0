"""A captured model: a flat graph, what goes into it, and what comes out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from qnb.errors import InputError
from qnb.graph.structure import Structure, flatten

if TYPE_CHECKING:
    pass

MANY = 1 << 40


@dataclass(frozen=True)
class Input:
    """One tensor that the graph takes.

    Args:
        name: as the user's forward calls it.
        shape: an int where the dimension is fixed; a symbol's name where it may vary, the same name where
            dimensions vary together.
        dtype: what batches hold; ``computed`` is what the graph takes (float32 for half-precision models).
    """

    name: str
    shape: tuple[int | str, ...]
    dtype: torch.dtype
    computed: torch.dtype

    def __str__(self) -> str:
        free = ("N", *["*"] * len(self.shape))
        sizes = [free[i] if isinstance(d, str) else str(d) for i, d in enumerate(self.shape)]
        return f"{self.name}: {' x '.join(sizes) or 'a number'}, {str(self.dtype).removeprefix('torch.')}"


class Captured:
    """What `capture` returns.

    Args:
        module: flat fx.GraphModule; only placeholder, get_attr (the user's parameter names), call_function and
            output (a tuple) nodes. Every call_function carries ``meta``: ``layer, path, module, op, source``,
            ``val`` (meta tensors of the example's sizes) and ``shape`` (None where a dimension varies).
        name: class of the user's model.
        inputs: one `Input` per placeholder.
        limits: smallest and largest value of each symbol.
        called: structure of ``(args, kwargs)``.
        returned: structure of the output.
        parameters: names of forward's parameters, in order.
        fixed: what the capture could not keep variable, in words.
        notes: what else a user should know.
    """

    def __init__(
        self,
        module: fx.GraphModule,
        name: str,
        inputs: list[Input],
        limits: dict[str, tuple[int, int]],
        called: Structure,
        returned: Structure,
        parameters: list[str],
        fixed: list[str],
        notes: list[str],
    ):
        self.module, self.name, self.inputs, self.limits = module, name, inputs, limits
        self.called, self.returned, self.parameters = called, returned, parameters
        self.fixed, self.notes = fixed, notes

    def flatten(self, batch: Any, operation: str = "flatten") -> list[torch.Tensor]:
        """A batch's tensors in the graph's order, checked against what was captured.

        Raises:
            InputError: other arguments, dtypes, ranks, sizes or devices than the graph takes.
        """
        return self.flatten_call(*as_call(batch), operation)

    def flatten_call(self, args: tuple, kwargs: Mapping[str, Any], operation: str) -> list[torch.Tensor]:
        """As `flatten`, for a call ``model(*args, **kwargs)``; forward's names connect the two forms."""
        call = self._bind(args, kwargs, operation)
        try:
            leaves, structure = flatten(call, "input")
        except Exception as error:
            raise InputError(operation, f"an input of another kind ({error.received})", self._wanted()) from error
        if structure != self.called:
            raise InputError(operation, "inputs nested in another way than example_inputs", self._wanted())
        self._check(leaves, operation)
        return [x.to(i.computed) for x, i in zip(leaves, self.inputs, strict=True)]

    def unflatten(self, flat: Iterable[torch.Tensor]) -> Any:
        """Flat outputs in the type that the user's model returns."""
        return self.returned.build(flat)

    def _bind(self, args: tuple, kwargs: Mapping[str, Any], operation: str) -> tuple[tuple, dict]:
        """Arguments in the captured form, by position or by name."""
        wanted_args, wanted_kwargs = self.called.children
        given = {k: v for k, v in kwargs.items() if v is not None or k in wanted_kwargs.keys}
        if len(args) > len(wanted_args.children) and not self._positional(args):
            raise InputError(operation, self._too_many(len(args)), self._labels())
        named = {**dict(zip(self.parameters, args, strict=False)), **given}
        names = [*self.parameters[: len(wanted_args.children)], *wanted_kwargs.keys]
        if not self.parameters and wanted_args.children:  # forward(*args)
            return tuple(args), given
        if missing := [n for n in names if n not in named]:
            raise InputError(operation, f"no {missing[0]!r} among the inputs", self._wanted())
        extra = [n for n, v in named.items() if n not in names and v is not None]
        if extra:
            raise InputError(operation, f"{extra[0]!r}, which example_inputs does not have", self._labels())
        split = len(wanted_args.children)
        return tuple(named[n] for n in names[:split]), {n: named[n] for n in names[split:]}

    def _positional(self, args: tuple) -> bool:
        """Whether positional arguments stand for captured keywords."""
        known = [*self.parameters[: len(self.called.children[0].children)], *self.called.children[1].keys]
        return len(args) <= len(known) and all(n in known for n in self.parameters[: len(args)])

    def _too_many(self, count: int) -> str:
        wanted = len(self.inputs)
        return f"{count} inputs where {wanted} {'was' if wanted == 1 else 'were'} captured"

    def _labels(self) -> str:
        return f"drop labels with qnb.inputs(loader), or {self._wanted()}"

    def _wanted(self) -> str:
        return f"pass what example_inputs had ({'; '.join(map(str, self.inputs))})"

    def _check(self, leaves: list[torch.Tensor], operation: str) -> None:
        sizes: dict[str, tuple[int, str]] = {}
        for x, wanted in zip(leaves, self.inputs, strict=True):
            if x.dtype not in (wanted.dtype, wanted.computed):
                raise InputError(
                    operation,
                    f"input {wanted.name!r} of {x.dtype} where {wanted.dtype} was captured",
                    f"convert it: x.to({wanted.dtype})",
                )
            if x.dim() != len(wanted.shape):
                raise InputError(operation, f"input {wanted.name!r} of shape {tuple(x.shape)}", self._wanted())
            for axis, (size, limit) in enumerate(zip(x.shape, wanted.shape, strict=True)):
                self._check_size(operation, wanted, axis, size, limit, sizes)

    def _check_size(self, operation, wanted: Input, axis: int, size: int, limit: int | str, sizes) -> None:
        where = f"dimension {axis} of input {wanted.name!r}"
        if isinstance(limit, int):
            if size != limit:
                raise InputError(
                    operation,
                    f"{where} is {size}; the capture fixed it at {limit}",
                    f"use {limit}, or capture with dynamic_shapes that let it vary",
                )
            return
        low, high = self.limits.get(limit, (0, MANY))
        if not low <= size <= high:
            most = "" if high >= MANY else f" to {high}"
            raise InputError(operation, f"{where} is {size}; the capture allows {low}{most}", "use a size it allows")
        other, place = sizes.setdefault(limit, (size, where))
        if other != size:
            raise InputError(operation, f"{where} is {size} but {place} is {other}", "make them equal")

    def __repr__(self) -> str:
        nodes = sum(n.op == "call_function" for n in self.module.graph.nodes)
        return f"Captured({self.name}: {nodes} ops; {'; '.join(map(str, self.inputs))})"


def check_device(leaves: list[torch.Tensor], device: torch.device | None, operation: str) -> None:
    """Data and model on one device, or an InputError; a model without tensors runs anywhere but on meta."""
    for x in leaves:
        if x.device != device and (device is not None or x.device.type == "meta"):
            where = f"a model on {device}" if device is not None else "a model"
            raise InputError(
                operation,
                f"inputs on device {x.device} for {where}",
                f"move one of them: x.to({str(device or 'cpu')!r})",
            )


def as_call(batch: Any) -> tuple[tuple, dict]:
    """A batch as ``(args, kwargs)``: tensor -> model(x), tuple or list -> model(*x), dict -> model(**x)."""
    if isinstance(batch, Mapping):
        return (), dict(batch)
    if isinstance(batch, tuple | list):
        return tuple(batch), {}
    return (batch,), {}
