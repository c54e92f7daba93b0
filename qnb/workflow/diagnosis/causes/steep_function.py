"""An op so steep where its values lie that it amplifies what rounding changed in its input."""

from __future__ import annotations

from collections.abc import Iterator

from torch import fx

from qnb.graph import ops
from qnb.text import decibel, percent
from qnb.workflow.diagnosis.case import Case
from qnb.workflow.diagnosis.cause import Suspicion, cause
from qnb.workflow.diagnosis.causes.inside_normalization import inverted_squares

STEEP = ("log", "log2", "log10", "log1p", "reciprocal", "rsqrt", "div", "pow", "tan", "exp", "exp2", "expm1", "logit")
LOST_DB = 8.0
"""So much is lost between the op's input and its output, before its own rounding."""
LEAST_SHARE = 0.05
FAR = 4
"""So many ops back."""


@cause("steep_function", "an op that amplifies the error of its input")
def find(case: Case) -> Iterator[Suspicion]:
    table = case.attribution.table.set_index("layer")
    reached = case.run.comparison.set_index("layer").sqnr_db
    inside = inverted_squares(case)
    for node in case.op_nodes(*STEEP):
        if node in inside:  # the square before it is the cause
            continue
        layer, sources = case.layer_of.get(node.name), _read(case, node)
        known = [s for s in sources if s in reached.index or s in table.index]
        if layer is None or layer not in table.index or not known:
            continue
        before = min(float(reached[s]) if s in reached.index else float(table.added_db[s]) for s in known)
        after = float(table.inherited_db[layer])
        coarse = _coarse(case, node, known)
        share = case.share(coarse, "activation")
        if before - after < LOST_DB or share < LEAST_SHARE:
            continue
        way = case.remedies.wider(coarse, share)
        yield Suspicion(
            f"{ops.name(node)} at {layer!r} amplifies the error of its input",
            tuple(dict.fromkeys((layer, *coarse))),
            f"its input has {decibel(before)}, its result {decibel(after)} before it is rounded itself: it is steep "
            f"where its values lie. Rounding its input makes {percent(share)} of the output's error",
            (way,),
        )


def _coarse(case: Case, node: fx.Node, read: list[str]) -> list[str]:
    """What an op reads in fewer than 16 bits, and what that is computed from without weights: rounding before the last
    step counts as much."""
    found, nodes = dict.fromkeys(read), [ops.maker(n) for n in node.all_input_nodes]
    for _ in range(FAR):
        nodes = [ops.maker(n) for m in nodes if _plain(m) for n in m.all_input_nodes]
        found |= {layer: None for n in nodes if _plain(n) and (layer := case.layer_of.get(n.name)) is not None}
    return [layer for layer in found if (case.activation_bits(layer) or 99) < 16]


def _plain(node: fx.Node) -> bool:
    """Whether a node is an op that works element by element, without weights."""
    return node.op == "call_function" and ops.of(node).kind in ("compute", "pass") and ops.of(node).family == ""


def _read(case: Case, node: fx.Node) -> list[str]:
    """The layers and graph inputs that an op reads."""
    return list(dict.fromkeys(layer for n in node.all_input_nodes if (layer := case.maker(n)) is not None))
