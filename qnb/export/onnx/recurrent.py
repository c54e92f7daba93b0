"""A recurrent layer while PyTorch translates the graph: one op, and the names of what its steps make."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import torch

from qnb.export.onnx.marker import DOMAIN
from qnb.export.onnx.tensors import FileTensor, Names
from qnb.sim.placement.recurrent_sites import RecurrentSite

if TYPE_CHECKING:
    from qnb.sim.quantsim import QuantSim

RECURRENCE = "Recurrence"


@torch.library.custom_op("qnb::recurrence", mutates_args=())
def _recurrence(
    x: torch.Tensor, rest: list[torch.Tensor], key: str, hidden: int, layers: int, directions: int, batch_first: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    raise NotImplementedError("it only stands for a recurrent layer while its graph is translated")


@_recurrence.register_fake
def _(x, rest, key, hidden, layers, directions, batch_first):
    states = [x.new_empty((layers * directions, x.shape[0 if batch_first else 1], hidden)) for _ in range(2)]
    return x.new_empty((*x.shape[:2], directions * hidden)), *states


recurrence = torch.ops.qnb.recurrence.default


def translation_table() -> dict:
    """For ``torch.onnx.export``: the layer becomes a node ``qnb.Recurrence``, which `write_steps` takes out again."""
    domain = _domain()
    return {
        recurrence: lambda x, rest, key, hidden, layers, directions, batch_first: domain.Recurrence(x, *rest, key=key)
    }


@cache
def _domain():
    from onnx.defs import OpSchema, register_schema
    from onnxscript import values

    inputs = OpSchema.FormalParameter("x_states_weights", "T", param_option=OpSchema.FormalParameterOption.Variadic)
    register_schema(
        OpSchema(
            RECURRENCE,
            DOMAIN,
            1,
            inputs=[inputs],
            outputs=[OpSchema.FormalParameter(name, "T") for name in ("y", "h", "c")],
            type_constraints=[("T", ["tensor(float)", "tensor(float16)"], "float tensors")],
            attributes=[OpSchema.Attribute("key", OpSchema.AttrType.STRING, "of the layer's RecurrentSite")],
        )
    )
    return values.Opset(DOMAIN, 1)


@dataclass(frozen=True)
class Layer:
    """A recurrent layer of a program.

    Args:
        site: of the sim's plan.
        steps: how many.
        hidden: size of the hidden state.
        zero: it starts from zeros.
        names: (place of the layer and direction, kind of value, step) -> name of the tensor in the file.
        tensors: by name.
    """

    site: RecurrentSite
    steps: int
    hidden: int
    zero: bool
    names: dict[tuple[int, str, int], str]
    tensors: dict[str, FileTensor]


def layer_of(sim: QuantSim, site: RecurrentSite, steps: int, hidden: int, zero: bool, names: Names) -> Layer:
    """The layer with a named tensor for every value of every step; the projection of the inputs is one for all."""
    found = Layer(site, steps, hidden, zero, {}, {})
    for place, keys in enumerate(site.keys):
        for kind, key in keys.items():
            what = f"{site.layer}.{kind}_{site.suffix(place)}"
            for step in range(1) if kind == "input_projection" else range(steps):
                name = names(what if kind == "input_projection" else f"{what}_t{step}")
                found.names[place, kind, step] = name
                found.tensors[name] = FileTensor(name, "activation", site.layer, sim.activation(key))
    return found
