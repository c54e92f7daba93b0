"""Graph + target -> plan: where quantizers go (REFERENCE for ``generic``: AIMET's per-channel default)."""

from __future__ import annotations

from torch import fx

from qnb.graph import ops
from qnb.graph.attributes import attribute
from qnb.graph.names import Names
from qnb.sim.placement import joining, supergroups, tensor_roles
from qnb.sim.placement.encoding_source import Sources, scalar_factor
from qnb.sim.placement.parameter_sites import add_parameter_sites
from qnb.sim.placement.plan import ActivationSite, LayerGroup, Plan
from qnb.sim.placement.recurrent_sites import add_recurrent_sites
from qnb.targets import Target


def place(module: fx.GraphModule, target: Target) -> Plan:
    """Place quantizers on a captured graph.

    Args:
        module: the flat, functional graph module of `qnb.graph.capture`.
        target: whose rules to follow.
    """
    for node in module.graph.nodes:
        if node.op == "get_attr":
            node.meta["tensor"] = tensor = attribute(module, node.target)
            node.meta.setdefault("val", tensor)
    return _Placement(module.graph, target).plan()


class _Placement:
    def __init__(self, graph: fx.Graph, target: Target):
        self.graph, self.target = graph, target
        self.zones = tensor_roles.find(graph)
        self.chains = supergroups.find(graph, target)
        self.interior = {n for chain in self.chains.values() for n in chain[:-1]}
        self.sources = Sources()
        self.result = Plan()
        self.layer_name = Names()
        self.meets: dict[fx.Node, bool] = {}

    def plan(self) -> Plan:
        for node in self.graph.nodes:
            if node.op == "placeholder":
                self._input(node)
            elif node.op == "get_attr":
                self._constant(node)
            elif node.op == "call_function":
                self._call(node)
        self._merge_tied()
        keys = ((node.name, self.sources.key(node)) for node in self.graph.nodes)
        self.result.encoding_of = {name: key for name, key in keys if key}
        self.result.follows = self._follows()
        add_recurrent_sites(self.result, self.graph, self.target)
        add_parameter_sites(self.result, self.graph, self.chains, self.sources, self.target)
        return self.result

    def _input(self, node: fx.Node) -> None:
        if tensor_roles.is_float(node) and node in self.zones.data:
            self._site(node, "input", node.meta.get("layer", node.name))

    def _constant(self, node: fx.Node) -> None:
        """A parameter or buffer that is an operand, for example a position embedding."""
        if tensor_roles.is_float(node) and node.meta["val"].numel() > 1 and self._meets_data(node):
            tensor = str(node.target)
            self._site(node, "weight", tensor.rpartition(".")[0] or tensor, tensor=tensor)

    def _call(self, node: fx.Node) -> None:
        kind = ops.of(node).kind
        if not ops.is_known(node) and isinstance(node.meta.get("val"), object) and tensor_roles.is_float(node):
            self.result.unknown.append((node.meta["layer"], ops.name(node)))
        if node not in self.zones.data:
            if tensor_roles.is_float(node) and kind == "compute" and self._meets_data(node):
                self._site(node, "activation", self.layer_name(node.meta["layer"]))
            elif kind == "pass":  # of a quantized table, for example an expanded class token
                self.sources.follow(node, node.args[0])
            return
        if kind == "concat" and tensor_roles.is_float(node):
            self._concat(node)
        elif ops.padded_with(node) and tensor_roles.is_float(node):
            self._padding(node)
        elif kind == "pass" and not self._makes_values(node):
            self.sources.follow(node, node.args[0])
        elif not tensor_roles.is_float(node) or node in self.interior or node in self.zones.mask:
            return
        elif node in self.zones.masked and not self.target.mask_encoding:
            self.sources.follow(node, self.zones.masked[node])
        elif (factor := scalar_factor(node)) is not None:
            self.sources.follow(node, factor[0], factor[1])
        else:
            self._output(node, kind)

    def _follows(self) -> dict[str, tuple[str, float]]:
        """Values that were only moved or scaled: whose encoding they have, times what.

        Scores behind a mask that the target need not encode have none: their range would be the mask's.
        """
        own = {node for site in self.result.activations.values() for node in site.nodes}
        behind_mask: set[fx.Node] = set()
        found = {}
        for node in self.graph.nodes:
            if node.op != "call_function" or node in own or node in self.interior or node in self.zones.mask:
                continue
            if node in self.zones.masked or (ops.of(node).kind == "pass" and node.args[0] in behind_mask):
                behind_mask.add(node)
            elif tensor_roles.is_float(node) and self.sources.key(node):
                found[node.name] = self.sources.key(node), self.sources.factor(node)
        return found

    def _makes_values(self, node: fx.Node) -> bool:
        """getitem passes a value on, unless it takes one of several results that an op computed (LSTM)."""
        if ops.name(node) != "getitem":
            return False
        parent = node.args[0]
        return parent.op == "call_function" and ops.of(parent).kind not in ("pass", "concat")

    def _output(self, node: fx.Node, kind: str) -> None:
        chain = self.chains.get(node, [node])
        first = node.args[0] if self._makes_values(node) else chain[0]
        chain = [first, node] if first is not chain[0] else chain
        layer = self.layer_name(_group_name(chain))
        names = (
            "rms_norm"
            if ops.name(chain[-1]) == "mul" and len(chain) > 3
            else "+".join(ops.name(n) for n in chain if ops.name(n) != "getitem")
        )
        site = self._site(node, "activation", layer)
        site.fixed = self.target.fixed_ranges.get(ops.name(node))
        site.masked = node in self.zones.masked
        if kind == "resize" and self.target.resize_shares_encoding:
            self._tie(node, node.args[0])
        if self.target.symmetric_matmul_rhs_16bit and ops.name(node) in ("matmul", "bmm"):
            self._symmetric_second_input(node)
        if ops.name(node) == "softmax":
            self._scores(node.args[0])
        self.result.groups.append(
            LayerGroup(layer, first.meta.get("module", ""), names, tuple(n.name for n in chain), node.name, site.key)
        )

    def _padding(self, node: fx.Node) -> None:
        """A number that comes from outside has to be in the range, and is rounded to the grid as all values are."""
        source, number = node.args[0], ops.padded_with(node)
        self._output(node, "pad")
        key = self.sources.key(source)
        low, high = (self.result.activations[key].fixed if key else None) or (number, number)
        if low <= number <= high:
            self._tie(node, source)

    def _symmetric_second_input(self, node: fx.Node) -> None:
        if tensor_roles.weight_position(node) is None and (key := self.sources.key(node.args[1])):
            self.result.activations[key].symmetric_at_16 = True

    def _scores(self, node: fx.Node) -> None:
        if key := self.sources.key(node):
            site, least = (
                self.result.activations[key],
                self.target.min_softmax_input_range_16bit / self.sources.factor(node),
            )
            site.least_span_at_16 = max(site.least_span_at_16, least)

    def _concat(self, node: fx.Node) -> None:
        """All inputs and the output on one grid; an input that only has a scaled encoding gets its own.

        Where the target converts, inputs keep their encodings unless nothing but concatenations reads them: then
        finer steps of their own would be lost at once.
        """
        inputs = [n for n in tensor_roles.operands(node) if tensor_roles.is_float(n)]
        encodings = {(self.sources.key(n), self.sources.factor(n)) for n in inputs if self.sources.key(n)}
        if not self.target.tied_concat and len(encodings) > 1:
            keyed = [n for n in inputs if self.sources.key(n)]
            free = [n for n in keyed if self.sources.factor(n) == 1.0 and joining.only_joined(n, self.target)]
            if len(free) < len(keyed):
                self._output(node, "concat")
                made = {ops.name(joining.maker(n, self.target)) for n in keyed}
                site = self.result.activations[node.name]
                site.from_below_zero_at_16 = not made.isdisjoint(self.target.unconverted_at_16)
                for item in free:
                    self.sources.tie(node, item)
                return
        for item in inputs:
            if item in self.zones.data and self.sources.factor(item) != 1.0:
                self._site(item, "activation", self.layer_name(item.meta["layer"]))
        keyed = [n for n in inputs if self.sources.key(n)]
        for other in keyed[1:]:
            self.sources.tie(keyed[0], other)
        if keyed:
            self.sources.follow(node, keyed[0])

    def _tie(self, node: fx.Node, other: fx.Node) -> None:
        if (key := self.sources.key(other)) and self.sources.factor(other) == 1.0:
            self.result.activations[node.name].fixed = self.result.activations[key].fixed
            self.sources.tie(other, node)

    def _meets_data(self, node: fx.Node) -> bool:
        """Whether this constant is an operand of an op on activations, directly or moved; found once for each."""
        if node not in self.meets:
            self.meets[node] = self._reaches_data(node)
        return self.meets[node]

    def _reaches_data(self, node: fx.Node) -> bool:
        for user in node.users:
            if user.op != "call_function" or user in self.zones.masked or user in self.zones.mask:
                continue
            if node not in tensor_roles.operands(user) or user in self.interior or user in self.chains_rms:
                continue
            if user in self.zones.data and ops.of(user).kind != "create":
                return True
            if user not in self.zones.data and ops.of(user).kind in ("pass", "concat") and self._meets_data(user):
                return True
        return False

    @property
    def chains_rms(self) -> set[fx.Node]:
        """Last multiplications of RMSNorms: their constant is a norm weight, not an operand."""
        return {last for last, chain in self.chains.items() if len(chain) > 3}

    def _site(self, node: fx.Node, kind: str, layer: str, tensor: str = "") -> ActivationSite:
        site = ActivationSite(node.name, kind, tensor or layer, layer, [node])
        self.result.activations[site.key] = site
        self.sources.start(node, site.key)
        return site

    def _merge_tied(self) -> None:
        """Tied sites become one quantizer, applied at all their nodes; a range is fixed only if all agree."""
        for key, site in list(self.result.activations.items()):
            leader = self.result.activations[self.sources.leader(key)]
            if leader is site:
                continue
            leader.nodes += site.nodes
            leader.symmetric_at_16 |= site.symmetric_at_16
            leader.from_below_zero_at_16 |= site.from_below_zero_at_16
            leader.least_span_at_16 = max(leader.least_span_at_16, site.least_span_at_16)
            leader.fixed = leader.fixed if leader.fixed == site.fixed else None
            del self.result.activations[key]
        self.result.groups = [
            LayerGroup(g.layer, g.module, g.op, g.nodes, g.output, self.sources.leader(g.key))
            for g in self.result.groups
        ]


def _group_name(chain: list[fx.Node]) -> str:
    """The first op's name; an RMSNorm written out has its module's."""
    if len(chain) > 3 and chain[0].meta.get("path"):
        return chain[0].meta["path"]
    return chain[0].meta["layer"]
