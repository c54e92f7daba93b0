"""What a QuantSim and an exact simulation have in common: all that can be asked of one."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import fx

from qnb.errors import CalibrationError
from qnb.graph import Captured
from qnb.graph.attributes import attribute
from qnb.numerics import Precision
from qnb.sim import selection, snapshot, tables
from qnb.sim.graph_model import GraphModel, ReferenceModel, device_of
from qnb.sim.placement.plan import Plan
from qnb.sim.quantizer import BiasQuantizer, Quantizer, WeightQuantizer
from qnb.targets import Target

if TYPE_CHECKING:
    import pandas as pd


class SimBase(GraphModel):
    """A graph with quantizers where the plan has them: what it computes, and what can be asked of it.

    ``applied_methods`` names the recovery methods (`qnb.methods`) it has had, in order;
    ``weight_encodings_frozen`` says that some of them chose the weights' ranges, or weights for their ranges, so that
    calibration leaves these.
    """

    def __init__(
        self, captured: Captured, graph_module: fx.GraphModule, plan: Plan, target: Target, precision: Precision
    ):
        super().__init__(captured, graph_module)
        self.plan, self.groups, self.target, self.precision = plan, plan.groups, target, precision
        self.applied_methods: tuple[str, ...] = ()
        self.weight_encodings_frozen = False
        self._moved_reference: fx.GraphModule | None = None

    @property
    def model(self) -> fx.GraphModule:
        """The simulated graph, trainable; its tensors are this sim's own from now on."""
        self.own_tensors()
        return self.graph_module

    @property
    def reference(self) -> fx.GraphModule:
        """The folded FP32 graph with the same layer names, on this sim's device."""
        original = self.captured.module
        if device_of(original) in (None, self.device):
            return original
        if self._moved_reference is None or device_of(self._moved_reference) != self.device:
            self._moved_reference = copy.deepcopy(original).to(self.device)
        return self._moved_reference

    @property
    def reference_model(self) -> ReferenceModel:
        """The FP32 reference, called like the user's model, on this sim's device."""
        return ReferenceModel(self.captured, self.reference)

    def activation(self, key: str) -> Quantizer:
        return self.graph_module.get_submodule(f"activation_quantizers.{key}")

    def weight(self, key: str) -> WeightQuantizer:
        return self.graph_module.get_submodule(f"weight_quantizers.{key}")

    def bias(self, key: str) -> BiasQuantizer:
        return self.graph_module.get_submodule(f"bias_quantizers.{key}")

    def weight_tensor(self, key: str) -> torch.Tensor:
        return attribute(self.graph_module, self.plan.weights[key].source.target)

    def bias_tensor(self, key: str) -> torch.Tensor:
        return attribute(self.graph_module, self.plan.biases[key].source.target)

    def quantizers(self) -> list[Quantizer]:
        """Activation and weight quantizers, each once (biases follow from them)."""
        return [*(self.activation(k) for k in self.plan.activations), *(self.weight(k) for k in self.plan.weights)]

    @property
    def calibrated(self) -> bool:
        """Whether every active quantizer has its encoding."""
        return not any(q.active and q.needs_calibration for q in self.quantizers())

    def _forward(self, args: tuple, kwargs: dict) -> Any:
        if not self.calibrated:
            raise CalibrationError("QuantSim", "it is not calibrated", "call calibrate(batches) first")
        return super()._forward(args, kwargs)

    def named(self, layers: str | Iterable[str] | None, operation: str) -> set[str]:
        """The layers (and inputs) that a name, a glob or a list of them means; None means all."""
        names = [s.layer for s in self.plan.activations.values()] + [g.layer for g in self.groups]
        return selection.layers(names, layers, operation)

    def output_keys(self, layers: set[str]) -> set[str]:
        """Keys of the activation quantizers of these layers' outputs."""
        own = {k for k, s in self.plan.activations.items() if s.layer in layers}
        return own | {g.key for g in self.groups if g.layer in layers}

    def sites(self) -> Iterator[tuple[str, str, Quantizer | BiasQuantizer]]:
        """Every quantizer as (layer, kind, module); a shared one under each of its layers."""
        layers_of: dict[str, list[str]] = {k: [s.layer] for k, s in self.plan.activations.items()}
        for group in self.groups:
            if group.layer not in layers_of[group.key]:
                layers_of[group.key].append(group.layer)
        for key, site in self.plan.activations.items():
            for layer in layers_of[key]:
                yield layer, site.kind, self.activation(key)
        for key, site in self.plan.weights.items():
            yield site.layer, "weight", self.weight(key)
        for key, site in self.plan.biases.items():
            yield site.layer, "bias", self.bias(key)

    def layers(self) -> pd.DataFrame:
        """DataFrame, one row per layer in graph order: see `qnb.columns.LAYERS`."""
        return tables.layers(self.snapshot())

    def encodings(self) -> pd.DataFrame:
        """DataFrame, one row per quantizer: see `qnb.columns.ENCODINGS`. Per-channel values are lists."""
        return tables.encodings(self.snapshot())

    def snapshot(self) -> Self:
        """The sim as it is now, made in a moment, to read while others may change it: see `qnb.sharing`. Its tensors
        are the sim's own, so it must not be written to; `copy` makes one that may be."""
        return snapshot.snapshot(self)

    def tensors(self) -> dict[str, torch.Tensor]:
        """The sim's parameters and buffers by the user's own names (quantizers' not included)."""
        names = dict.fromkeys(n.target for n in self.graph_module.graph.nodes if n.op == "get_attr")
        return {name: attribute(self.graph_module, name) for name in names}

    def drop_cache(self) -> None:
        """Free the kept quantized weights; the next forward pass makes them again."""
        for _, kind, module in self.sites():
            if kind in ("weight", "bias") and hasattr(module, "drop_cache"):
                module.drop_cache()  # pyright: ignore[reportCallIssue]

    def __repr__(self) -> str:
        state = "calibrated" if self.calibrated else "not calibrated"
        what = f"{getattr(self.captured, 'name', 'model')}, {self.precision.name}, {self.target.name}"
        return f"{type(self).__name__}({what}: {len(self.groups)} layers, {state})"

    def _repr_html_(self) -> str:
        return tables.document(self).html()

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        return tables.document(self).bundle() | {"text/plain": repr(self)}
