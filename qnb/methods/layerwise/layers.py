"""The layers that recovery methods work on: an op with a constant weight, its quantizers and its tensors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import fx

from qnb.errors import PrecisionError
from qnb.graph import ops
from qnb.numerics import Grid
from qnb.sim.placement.plan import LayerGroup, WeightSite

if TYPE_CHECKING:
    from qnb.sim.quantsim import QuantSim


@dataclass(frozen=True)
class WeightedLayer:
    """A convolution, linear layer or product with a constant, with what the target runs along with it.

    Args:
        layer: its name in every table.
        op: ``"conv2d"``, ``"linear"``, ``"addmm"`` ...
        node: name of the op's node, the same in the sim's graph and the reference's.
        group: the row of every per-layer table; ``group.output`` is the last node, for example the fused activation's.
        site: of the weight's quantizer; ``site.tensor`` names the weight, ``site.axis`` its output channels.
        bias: name of the bias tensor, None without.
        bias_key: of the bias's quantizer, None where the target simulates none.
    """

    layer: str
    op: str
    node: str
    group: LayerGroup
    site: WeightSite
    bias: str | None
    bias_key: str | None

    @property
    def weight(self) -> str:
        return self.site.tensor

    @property
    def weight_key(self) -> str:
        return self.site.key


def weighted_layers(
    sim: QuantSim, layers: str | Iterable[str] | None = None, operation: str = "methods"
) -> list[WeightedLayer]:
    """In graph order. Embeddings (a table, no product) and recurrent layers (several weights) are none of them.

    Args:
        layers: a name, a glob or a list of them; None means all.

    Raises:
        InputError: a name that matches no layer.
    """
    chosen = sim.named(layers, operation)
    groups = {name: group for group in reversed(sim.groups) for name in group.nodes}
    biases = {site.weight_key: site.key for site in sim.plan.biases.values()}
    order = {n.name: i for i, n in enumerate(sim.graph_module.graph.nodes)}
    found = []
    for site in sorted(sim.plan.weights.values(), key=lambda s: order[s.user.name]):
        user, op = site.user, ops.of(site.user)
        if site.layer not in chosen or op.kind != "weighted" or len(site.path) > 1 or ops.name(user) == "embedding":
            continue
        found.append(
            WeightedLayer(
                site.layer, ops.name(user), user.name, groups[user.name], site, _bias(user, op), biases.get(site.key)
            )
        )
    return found


def _bias(user: fx.Node, op) -> str | None:
    bias = user.args[op.bias] if op.bias is not None and len(user.args) > op.bias else None
    return str(bias.target) if isinstance(bias, fx.Node) and bias.op == "get_attr" else None


def integer_layers(
    sim: QuantSim, layers: str | Iterable[str] | None = None, operation: str = "methods"
) -> list[WeightedLayer]:
    """The `weighted_layers` whose weight is on an integer grid.

    Raises:
        PrecisionError: none is.
    """
    quantizers = [(layer, sim.weight(layer.weight_key)) for layer in weighted_layers(sim, layers, operation)]
    found = [layer for layer, weight in quantizers if isinstance(weight.grid, Grid) and weight.active]
    if not found:
        raise PrecisionError(
            operation,
            f"no layer with an integer weight grid ({sim.precision.name})",
            "use a precision with integer weights, for example w4a8",
        )
    return found
