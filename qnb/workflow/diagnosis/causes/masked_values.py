"""A constant that shuts positions out, such as -1e4, lies inside the range of the values that count."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import fx

from qnb.graph import ops
from qnb.measures.layers.survey import NodeValues
from qnb.sim import QuantSim
from qnb.text import percent
from qnb.workflow.diagnosis.case import Case
from qnb.workflow.diagnosis.cause import Suspicion, cause

FAR = 8.0
"""A constant so many times further out than the values that count is there to shut out."""
LEAST_SHARE = 0.05
MASKING = ("where", "masked_fill", "add", "sub", "mul", "minimum", "maximum")


@cause("masked_values", "a mask inside a range")
def find(case: Case) -> Iterator[Suspicion]:
    for node in case.op_nodes(*MASKING):
        group = case.by_output.get(node.name)
        step = case.step(group.layer) if group is not None else None
        if group is None or step is None or case.sim.plan.activations[group.key].masked:
            continue
        constant, values = _operands(case, node)
        share = case.share([group.layer], "activation")
        if constant is None or values is None or abs(constant) < FAR * max(values.reach, 1e-30) or share < LEAST_SHARE:
            continue
        yield Suspicion(
            f"A mask lies inside the range of {group.layer!r}",
            (group.layer,),
            f"the values that count lie between {values.low:.3g} and {values.high:.3g}, the mask puts {constant:.3g} "
            f"beside them, so one step is {step:.2g}: {percent(share)} of the output's error",
            _ways(case, group.layer, group.key, values, constant, share),
        )


def _ways(case: Case, layer: str, key: str, values: NodeValues, constant: float, share: float) -> tuple:
    room = 0.25 * values.span
    near = values.low - room if constant < 0 else values.high + room

    def cut(sim: QuantSim) -> None:
        ends = (near, values.high) if constant < 0 else (values.low, near)
        sim.activation(key).set_range(*(torch.tensor(float(end)) for end in ends))

    said = f"in the model, shut out with {near:.3g} in place of {constant:.3g}"
    ways = (case.remedies.wider([layer], share), case.remedies.change(said, case.look(layer), cut, share))
    return ways


def _operands(case: Case, node: fx.Node) -> tuple[float | None, NodeValues | None]:
    """(the constant that a node mixes in, the values that it keeps); None where it does neither."""
    number, seen = None, None
    for argument in node.args:
        if isinstance(argument, fx.Node):
            table = case.constant(argument)
            if table is None:
                seen = seen or case.node_values(argument)
            elif table.is_floating_point() and table.numel():
                number = _furthest(table, number)
        elif isinstance(argument, int | float) and not isinstance(argument, bool) and ops.name(node) != "add":
            number = float(argument)
    return number, seen


def _furthest(table: torch.Tensor, number: float | None) -> float:
    """The finite value furthest from zero, of a table and a number."""
    finite = table[torch.isfinite(table)]
    if not finite.numel():
        return number or 0.0
    value = float(finite.flatten()[finite.abs().argmax()])
    return value if number is None or abs(value) > abs(number) else number
