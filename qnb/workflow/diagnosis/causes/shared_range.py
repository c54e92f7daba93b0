"""Values of unlike size share one range: what is small takes few steps of it, or becomes zero."""

from __future__ import annotations

from collections.abc import Iterator

from torch import fx

from qnb.graph import ops
from qnb.measures.layers.survey import NodeValues
from qnb.text import percent
from qnb.workflow.diagnosis.case import Case
from qnb.workflow.diagnosis.cause import Suspicion, cause

FEW = 32
"""Steps; values that take fewer are coarse."""
TIMES = 4.0
"""The others must reach so many times further."""
LEAST_SHARE = 0.05
SPLITS = ("slice", "select", "getitem", "narrow", "split", "chunk", "split_with_sizes", "unbind")


@cause("shared_range", "values of unlike size in one range")
def find(case: Case) -> Iterator[Suspicion]:
    for node in case.nodes.values():
        group = case.by_output.get(node.name)
        step = case.step(group.layer) if group is not None else None
        if group is None or step is None:
            continue
        parts = _joined(case, node) or _split(case, node)
        small = [(name, seen) for name, seen in parts if _coarse(seen, step, [s for _, s in parts])]
        together = [g.layer for g in case.sim.groups if g.key == group.key]
        share = case.share(together, "activation")
        if not small or share < LEAST_SHARE:
            continue
        name, seen = min(small, key=lambda part: part[1].span)
        largest = max(s.reach for _, s in parts)
        way = case.remedies.wider([group.layer], share)
        yield Suspicion(
            f"Values of unlike size share one range at {group.layer!r}: {name} takes few of its steps",
            (group.layer,),
            f"{name} lies between {seen.low:.3g} and {seen.high:.3g}, but the range reaches {largest:.3g}, in steps of "
            f"{step:.2g}: {_steps(seen, step)} of {2 ** (case.activation_bits(group.layer) or 8) - 1} are left to it. "
            f"Rounding there makes {percent(share)} of the output's error. Returned or joined apart, each would have a "
            "range of its own",
            () if way is None else (way,),
        )


def _steps(seen: NodeValues, step: float) -> str:
    return f"{max(1, round(seen.span / step))}" if seen.span > 0.5 * step else "less than one"


def _coarse(seen: NodeValues, step: float, others: list[NodeValues]) -> bool:
    """Whether values are few steps wide because others reach much further."""
    return 0 < seen.span < FEW * step and max(other.reach for other in others) > TIMES * seen.reach


def _joined(case: Case, node: fx.Node) -> list[tuple[str, NodeValues]]:
    """What a concatenation joins, by the name of the layer that made it."""
    if ops.of(node).kind != "concat" or not isinstance(node.args[0], list | tuple):
        return []
    found = [(case.maker(source), case.node_values(source)) for source in node.args[0]]
    return [(f"the output of {layer!r}", seen) for layer, seen in found if layer is not None and seen is not None]


def _split(case: Case, node: fx.Node) -> list[tuple[str, NodeValues]]:
    """The parts that a layer's output is cut into, by their place."""
    cut, readers = [], list(node.users)
    while readers:
        user = readers.pop(0)
        if user.op != "call_function" or ops.of(user).kind != "pass":
            continue
        seen = case.node_values(user)
        if ops.name(user) in SPLITS and seen is not None:
            cut.append((f"part {len(cut) + 1} of it", seen))
        else:
            readers += user.users
    return cut if len(cut) > 1 else []
