"""Values of unlike size share one range: what is small takes few steps of it, or becomes zero."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import fx

from qnb.graph import ops
from qnb.measures.layers.survey import NodeValues
from qnb.text import percent
from qnb.workflow.diagnosis.case import Case
from qnb.workflow.diagnosis.cause import Suspicion, cause
from qnb.workflow.guidance.joined_ranges import few_steps, joins

TIMES = 4.0
"""The others must reach so many times further."""
LEAST_SHARE = 0.05
SPLITS = ("slice", "select", "getitem", "narrow", "split", "chunk", "split_with_sizes", "unbind")


@cause("shared_range", "values of unlike size in one range")
def find(case: Case) -> Iterator[Suspicion]:
    for node in case.nodes.values():
        key = case.sim.plan.encoding_of.get(node.name)
        parts = _joined(case, node) or _split(case, node)
        sharing = [group.layer for group in case.sim.groups if group.key == key]
        step = case.step(sharing[0]) if sharing else None
        if step is None or not parts:
            continue
        small = [part for part in parts if _coarse(part.seen, step, [p.seen for p in parts])]
        share = case.share(sharing, "activation")
        if small and share >= LEAST_SHARE:
            yield _suspicion(case, node, sharing, min(small, key=lambda part: part.seen.span), parts, step, share)


@dataclass(frozen=True)
class Part:
    """A value that shares a range with others; ``layer`` that made it, empty where it is cut out of one."""

    said: str
    seen: NodeValues
    layer: str = ""


def _suspicion(
    case: Case, node: fx.Node, sharing: list[str], small: Part, parts: list[Part], step: float, share: float
) -> Suspicion:
    largest = max(part.seen.reach for part in parts)
    first = small.layer if small.layer in sharing else sharing[0]
    whole = case.layer_of.get(node.name) or node.meta.get("layer", node.name)  # a tied concatenation is no layer
    place = f"at {first!r}" if first == whole else f"in {whole!r}"
    steps = 2 ** (case.activation_bits(first) or 8) - 1
    return Suspicion(
        f"Values of unlike size share one range {place}: {small.said} takes few of its steps",
        tuple(dict.fromkeys((first, *sharing))),
        f"{small.said} lies between {small.seen.low:.3g} and {small.seen.high:.3g}, but the range reaches "
        f"{largest:.3g} in steps of {step:.2g}: {_steps(small.seen, step)} of {steps} are left to it. Rounding there "
        f"makes {percent(share)} of the output's error. Returned or joined apart, each would have a range of its own",
        (case.remedies.wider([first], share),),
    )


def _steps(seen: NodeValues, step: float) -> str:
    return f"{max(1, round(seen.span / step))}" if seen.span > 0.5 * step else "less than one"


def _coarse(seen: NodeValues, step: float, others: list[NodeValues]) -> bool:
    """Whether values are few steps wide because others reach much further."""
    return few_steps(seen.low, seen.high, step) and max(other.reach for other in others) > TIMES * seen.reach


def _joined(case: Case, node: fx.Node) -> list[Part]:
    """What a concatenation joins."""
    if not joins(node) or not isinstance(node.args[0], list | tuple):
        return []
    sources = [source for source in node.args[0] if isinstance(source, fx.Node)]
    found = [(ops.maker(source), case.node_values(source)) for source in sources]
    named = [(case.layer_of.get(n.name) or n.meta.get("layer") or n.name, seen) for n, seen in found]
    return [Part(f"the output of {name!r}", seen, name) for name, seen in named if seen is not None]


def _split(case: Case, node: fx.Node) -> list[Part]:
    """The parts that a layer's output is cut into, by their place."""
    cut, readers = [], list(node.users) if node.name in case.by_output else []
    while readers:
        user = readers.pop(0)
        if user.op != "call_function" or ops.of(user).kind != "pass":
            continue
        seen = case.node_values(user)
        if ops.name(user) in SPLITS and seen is not None:
            cut.append(Part(f"part {len(cut) + 1} of it", seen))
        else:
            readers += user.users
    return cut if len(cut) > 1 else []
