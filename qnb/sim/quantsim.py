"""QuantSim: a captured model with quantizers where the target has them."""

from __future__ import annotations

import copy as copying
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import fx, nn

from qnb import targets
from qnb.errors import CalibrationError, InputError
from qnb.graph import Captured
from qnb.graph.attributes import attribute, set_tensor
from qnb.graph.target_form import written_out
from qnb.numerics import Grid, Precision
from qnb.sharing import changing, reading
from qnb.sim import build, calibration, selection, snapshot, tables
from qnb.sim.graph_model import GraphModel, ReferenceModel, device_of
from qnb.sim.placement.place import place
from qnb.sim.quantizer import BiasQuantizer, Quantizer, WeightQuantizer
from qnb.sim.quantizer_state import QuantizerState, quantizer_modules
from qnb.sim.refusals import refuse_unsupported


class QuantSim(GraphModel):
    """Simulates how a model runs in low precision on a target.

    Args:
        model: an ``nn.Module`` in eval mode (never changed), or a `Captured` one.
        example_inputs: one batch as the model takes it: a tensor, a tuple or list, or a dict of keywords.
        precision: a name (``"w8a16"``, ``"fp16"`` ...) or a `Precision`.
        target: where quantizers go: ``"htp-v75"``, ``"generic"``, ... (`qnb.targets.TARGETS`).
        dynamic_shapes: as for torch.export; None finds out by itself.
        simulate_bias: int32 biases; None follows the target.

    ``applied_methods`` names the recovery methods (`qnb.methods`) it has had, in order;
    ``weight_encodings_frozen`` says that some of them chose the weights' ranges, or weights for their ranges, so that
    calibration leaves these.

    Raises:
        CaptureError, InputError, PrecisionError, TargetError: before any long work.

    >>> import torch, qnb
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU()).eval()
    >>> sim = qnb.QuantSim(model, torch.randn(2, 3, 8, 8), "w8a8")
    >>> sim = sim.calibrate([torch.randn(2, 3, 8, 8)])
    >>> sim(torch.randn(2, 3, 8, 8)).shape
    torch.Size([2, 4, 6, 6])
    """

    def __init__(
        self,
        model: nn.Module | Captured,
        example_inputs: Any = None,
        precision: str | Precision = "w8a16",
        *,
        target: str | targets.Target = "htp-v75",
        dynamic_shapes: Any = None,
        simulate_bias: bool | None = None,
    ):
        precision, target = Precision.parse(precision), targets.get(target)
        captured = written_out(build.captured_of(model, example_inputs, dynamic_shapes), target.written_out)
        plan = place(captured.module, target)
        super().__init__(captured, build.build(captured.module, plan, precision))
        self.precision, self.target, self.plan = precision, target, plan
        self.groups = plan.groups
        self.applied_methods: tuple[str, ...] = ()
        self.weight_encodings_frozen = False
        self._moved_reference: fx.GraphModule | None = None
        if simulate_bias is not None:
            if simulate_bias and not plan.biases:
                raise InputError(
                    "QuantSim",
                    f"simulate_bias=True with target {target.name!r}, which has none",
                    "choose a target that simulates biases, 'htp-v75' say",
                )
            for key in plan.biases:
                self.bias(key).enabled = simulate_bias

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
            self._moved_reference = copying.deepcopy(original).to(self.device)
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

    @changing
    def calibrate(
        self,
        batches: Iterable,
        method: str = "minmax",
        progress=None,
        *,
        layers: str | Iterable[str] | None = None,
        **options,
    ) -> QuantSim:
        """Find every encoding from data: see `qnb.sim.calibration.calibrate`. Returns the sim itself."""
        calibration.calibrate(self, batches, method, progress, layers=layers, **options)
        return self

    def _forward(self, args: tuple, kwargs: dict):
        if not self.calibrated:
            raise CalibrationError("QuantSim", "it is not calibrated", "call calibrate(batches) first")
        return super()._forward(args, kwargs)

    @changing
    def set_precision(self, layers: str | Iterable[str] | None, precision: str | Precision) -> QuantSim:
        """Give some layers another precision: their weights and their output (with all that is tied to it).

        Args:
            layers: a name, a glob (``"block1.*"``) or a list of them; None means all, inputs included.
            precision: as for `QuantSim`. Encodings follow from the statistics of the last calibration.

        Raises:
            TargetError: the target does not run some of the layers like that. A whole model may be simulated at any
                precision, and its layers may go back to that one.
        """
        precision = Precision.parse(precision)
        chosen = self.named(layers, "QuantSim.set_precision")
        if layers is not None and precision != self.precision:
            refuse_unsupported(self, chosen, precision, "QuantSim.set_precision")
        was_calibrated = self.calibrated
        activations = self.output_keys(chosen)
        weights = {k for k, s in self.plan.weights.items() if s.layer in chosen}
        for key in activations:
            self._regrid(self.activation(key), build.activation_grid(self.plan.activations[key], precision), None)
        for key in weights:
            site = self.plan.weights[key]
            self._regrid(self.weight(key), *build.weight_grid(site, self.weight_tensor(key).shape, precision))
        if was_calibrated:
            calibration.activation_encodings(self, activations)
            calibration.weight_encodings(self, weights)
            calibration.restore_weight_ranges(self, weights)  # the bias guard may have raised others for the old grids
            calibration.guard_bias_overflow(self)
        return self

    def named(self, layers: str | Iterable[str] | None, operation: str) -> set[str]:
        """The layers (and inputs) that a name, a glob or a list of them means; None means all."""
        names = [s.layer for s in self.plan.activations.values()] + [g.layer for g in self.groups]
        return selection.layers(names, layers, operation)

    def output_keys(self, layers: set[str]) -> set[str]:
        """Keys of the activation quantizers of these layers' outputs."""
        own = {k for k, s in self.plan.activations.items() if s.layer in layers}
        return own | {g.key for g in self.groups if g.layer in layers}

    @staticmethod
    def _regrid(quantizer: Quantizer, grid, axis: int | None) -> None:
        quantizer.grid, quantizer.axis = grid, axis
        if not isinstance(grid, Grid):
            return
        quantizer.scale = quantizer.zero_point = None

    def enable(self, layers: str | Iterable[str] | None = None, kind: str | None = None) -> QuantSim:
        """Switch quantizers on: of some layers (name, glob, list), of one kind, or all."""
        return self._switch(True, layers, kind, "QuantSim.enable")

    def disable(self, layers: str | Iterable[str] | None = None, kind: str | None = None) -> QuantSim:
        """Switch quantizers off: those tensors stay FP32."""
        return self._switch(False, layers, kind, "QuantSim.disable")

    @changing
    def _switch(self, on: bool, layers, kind, operation: str) -> QuantSim:
        selection.kind(kind, operation)
        chosen = selection.layers((layer for layer, *_ in self.sites()), layers, operation)
        for layer, site_kind, module in self.sites():
            if layer in chosen and kind in (None, site_kind):
                module.enabled = on
        return self

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

    def layers(self):
        """DataFrame, one row per layer in graph order: see `qnb.columns.LAYERS`."""
        return tables.layers(self.snapshot())

    def encodings(self):
        """DataFrame, one row per quantizer: see `qnb.columns.ENCODINGS`. Per-channel values are lists."""
        return tables.encodings(self.snapshot())

    @reading
    def copy(self) -> QuantSim:
        """An independent sim: encodings are copied, weights shared until either side may write to them."""
        other = QuantSim(self.captured, precision=self.precision, target=self.target)
        other.applied_methods, other.weight_encodings_frozen = self.applied_methods, self.weight_encodings_frozen
        own = quantizer_modules(self)
        for name, module in quantizer_modules(other).items():
            QuantizerState.of(own[name]).put(module)
        if not self._shared:
            for key, tensor in self.tensors().items():
                set_tensor(other.graph_module, key, tensor)
            other.own_tensors()
        return other.train(self.training)

    def snapshot(self) -> QuantSim:
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
                module.drop_cache()

    def exact(self, runtime: str) -> QuantSim:
        """A copy that computes, code for code, what a runtime's integer kernels compute.

        Products of integers are summed exactly and brought to the output's grid by the runtime's own rounding rules
        (`qnb.sim.exact`); ops that a runtime has no integer kernel for are simulated as before.

        Args:
            runtime: ``"onnxruntime"`` (its CPU kernels; W8A8) or ``"htp"`` (v75; W8A8 and W4A8).

        Raises:
            PrecisionError: a layer of another precision, by name.
        """
        from qnb.sim.exact import exact

        return exact(self, runtime)

    def save(self, path) -> None:
        """Write the sim, its graph included, to one file (safetensors + JSON): see `qnb.sim.storage.file`."""
        from qnb.sim import storage

        storage.save(self, path)

    @staticmethod
    def load(path) -> QuantSim:
        """Read what `save` wrote; needs neither the user's model nor its class."""
        from qnb.sim import storage

        return storage.load(path)

    @changing
    def load_encodings(self, path) -> QuantSim:
        """Take the encodings of a file: grid, axis, block size, scale and zero point. Returns the sim itself.

        Args:
            path: what `qnb.export_encodings` wrote, or another encodings file (1.0.0, 2.0.0) with the same names.
                Quantizers that it does not list stay as they are; biases follow from input and weight.

        Raises:
            FileError: a file that is damaged, contradicts itself or fits another model; the sim is as it was.
        """
        from qnb.export.encodings.reader import load_encodings

        load_encodings(self, path)
        return self

    def __repr__(self) -> str:
        state = "calibrated" if self.calibrated else "not calibrated"
        name = getattr(self.captured, "name", "model")
        return f"QuantSim({name}, {self.precision.name}, {self.target.name}: {len(self.groups)} layers, {state})"

    def _repr_html_(self) -> str:
        return tables.document(self).html()

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        return tables.document(self).bundle() | {"text/plain": repr(self)}
