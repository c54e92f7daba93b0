"""One run to be diagnosed, with what was measured of it: what the rules of causes look at."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor, fx

from qnb.graph import ops
from qnb.graph.attributes import attribute
from qnb.measures.layers.survey import LayerSurvey, NodeValues, Survey
from qnb.numerics import FloatGrid
from qnb.sim.placement.plan import LayerGroup
from qnb.workflow.diagnosis.remedies import Remedies, integer_bits

if TYPE_CHECKING:
    from qnb.measures.attribution.result import Attribution
    from qnb.sim.quantizer import Quantizer
    from qnb.sim.quantsim import QuantSim
    from qnb.workflow.run import Run
    from qnb.workflow.workflow import Workflow

UNEXPLAINED = 0.5
"""Share of the error beyond which an attribution says nothing."""
PARTS = ("weight_share", "activation_share", "bias_share")


@dataclass(frozen=True)
class Case:
    """Args:
    flow, run: the workflow, and the run in question.
    batches: those that are measured on, the first of the calibration data.
    survey: of the FP32 values of all calibration data.
    attribution: of the error at the outputs, on ``batches``.
    output_sqnr_db: there, the mean over the outputs' parts.
    """

    flow: Workflow
    run: Run
    batches: Sequence
    survey: Survey
    attribution: Attribution
    output_sqnr_db: float

    @property
    def sim(self) -> QuantSim:
        return self.run.sim

    @cached_property
    def remedies(self) -> Remedies:
        """Makes remedies for this run."""
        return Remedies(self.flow, self.run, self.batches)

    @cached_property
    def nodes(self) -> dict[str, fx.Node]:
        """Nodes of the reference graph by name."""
        return {node.name: node for node in self.sim.reference.graph.nodes}

    @cached_property
    def groups(self) -> dict[str, LayerGroup]:
        """Layers by name."""
        return {group.layer: group for group in self.sim.groups}

    @cached_property
    def layer_of(self) -> dict[str, str]:
        """Name of a node -> the layer or graph input that it belongs to."""
        found = {s.nodes[0].name: s.layer for s in self.sim.plan.activations.values() if s.kind == "input" and s.nodes}
        return found | {name: group.layer for group in self.sim.groups for name in group.nodes}

    @cached_property
    def by_output(self) -> dict[str, LayerGroup]:
        """Name of the node whose value is a layer's output -> the layer."""
        return {group.output: group for group in self.sim.groups}

    def maker(self, node: fx.Node) -> str | None:
        """The layer or graph input that made a value, looked at behind what only moves it; None for constants."""
        return self.made(node)[0]

    def made(self, node: fx.Node) -> tuple[str | None, float]:
        """As `maker`, with the factor that a multiplication without a quantizer of its own put in between."""
        factor, follows = 1.0, self.sim.plan.follows
        while (node := ops.maker(node)).name in follows and node.name not in self.layer_of:
            source = next((n for n in node.all_input_nodes if self.constant(n) is None), None)
            if source is None:
                break
            before, after = follows.get(source.name, ("", 1.0))[1], follows[node.name][1]
            node, factor = source, factor * after / before
        return self.layer_of.get(node.name), factor

    def values(self, layer: str) -> LayerSurvey | None:
        """The FP32 values of a layer or graph input."""
        return self.survey.layers.get(layer)

    def node_values(self, node: fx.Node) -> NodeValues | None:
        return self.survey.nodes.get(node.name)

    def op_nodes(self, *names: str) -> list[fx.Node]:
        """The reference graph's nodes of these ops (`qnb.graph.ops.name`), in order."""
        return [n for n in self.nodes.values() if n.op == "call_function" and ops.name(n).rstrip("_") in names]

    def quantizer(self, layer: str) -> Quantizer | None:
        """The activation quantizer of a layer's output, or of a graph input."""
        key = next(iter(self.sim.output_keys({layer})), None)
        return None if key is None else self.sim.activation(key)

    def activation_bits(self, layer: str) -> int | None:
        """Bits of a layer's output; None where it is not on an integer grid or its quantizer is off."""
        return integer_bits(self.quantizer(layer))

    def weight_bits(self, layer: str) -> int | None:
        """Bits of a layer's first weight; None without any, or as for its output."""
        own = self.sim.plan.weights_of.get(layer)
        return integer_bits(self.sim.weight(own[0])) if own else None

    def step(self, layer: str) -> float | None:
        """One step of a layer's output grid; None without an integer one."""
        quantizer = self.quantizer(layer)
        if self.activation_bits(layer) is None or quantizer is None or quantizer.scale is None:
            return None
        return float(quantizer.scale.max())

    @cached_property
    def shares(self) -> pd.DataFrame:
        """The attribution's shares by layer."""
        return self.attribution.table.set_index("layer").loc[:, list(PARTS)]

    @cached_property
    def explained(self) -> bool:
        """Whether the attribution accounts for most of the error; a broken output it cannot."""
        return self.output_sqnr_db > 0 and abs(self.attribution.residual) <= UNEXPLAINED  # NaN is not

    def share(self, layers: Iterable[str], *parts: str) -> float:
        """What part of the output's noise some layers add; where the attribution cannot tell, any may add all of it.

        Args:
            parts: of ``weight``, ``activation`` and ``bias``; all by default.
        """
        if not self.explained:
            return 1.0
        known = [layer for layer in layers if layer in self.shares.index]
        wanted = [f"{part}_share" for part in parts] or list(PARTS)
        return float(self.shares.loc[known, wanted].to_numpy().sum())

    def resolution(self, layer: str) -> float | None:
        """As `step`; of a floating-point grid the distance of the largest values that are seen there."""
        quantizer, seen = self.quantizer(layer), self.values(layer)
        if quantizer is not None and quantizer.active and isinstance(quantizer.grid, FloatGrid) and seen is not None:
            apart = torch.finfo(quantizer.grid.dtype).eps
            return apart * 2.0 ** math.floor(math.log2(seen.reach)) if seen.reach else None
        return self.step(layer)

    def constant(self, node: fx.Node) -> Tensor | None:
        """The tensor behind a node that only moves, or is, a constant of the model; None for all others."""
        maker = ops.maker(node)
        if maker.op != "get_attr":
            return None
        value = attribute(self.sim.reference, str(maker.target))
        return value.detach() if isinstance(value, Tensor) else None

    @property
    def curve(self) -> str:
        """The line that shows how many calibration samples are enough."""
        return f"{self.flow.variable}.calibration_curve({self.run.name!r})"

    def look(self, layer: str) -> str:
        """The line that shows a layer's values."""
        return f"{self.flow.variable}.layer({self.run.name!r}, {layer!r})"
