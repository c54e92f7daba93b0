"""QuantSim: a captured model with quantizers where the target has them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from torch import nn

from qnb import targets
from qnb.errors import CalibrationError, InputError
from qnb.graph import Captured
from qnb.graph.attributes import set_tensor
from qnb.graph.target_form import written_out
from qnb.numerics import Grid, Precision
from qnb.progress import Report
from qnb.sharing import changing, reading
from qnb.sim import build, calibration, selection, storage
from qnb.sim.base import SimBase
from qnb.sim.exact import ExactSim, exact
from qnb.sim.limits import refuse_unsupported
from qnb.sim.placement.place import place
from qnb.sim.quantizer import Quantizer
from qnb.sim.quantizer_state import QuantizerState, quantizer_modules

if TYPE_CHECKING:
    from os import PathLike


class QuantSim(SimBase):
    """Simulates how a model runs in low precision on a target.

    Args:
        model: an ``nn.Module`` in eval mode (never changed), or a `Captured` one.
        example_inputs: one batch as the model takes it: a tensor, a tuple or list, or a dict of keywords.
        precision: a name (``"w8a16"``, ``"fp16"`` ...) or a `Precision`.
        target: where quantizers go: ``"htp-v75"``, ``"generic"``, ... (`qnb.targets.TARGETS`).
        dynamic_shapes: as for torch.export; None finds out by itself.
        simulate_bias: int32 biases; None follows the target.

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
        super().__init__(captured, build.build(captured.module, plan, precision), plan, target, precision)
        if simulate_bias is not None:
            if simulate_bias and not plan.biases:
                raise InputError(
                    "QuantSim",
                    f"simulate_bias=True with target {target.name!r}, which has none",
                    "choose a target that simulates biases, for example 'htp-v75'",
                )
            for key in plan.biases:
                self.bias(key).enabled = simulate_bias

    @changing
    def calibrate(
        self,
        batches: Iterable,
        method: str = "minmax",
        progress: Report | None = None,
        *,
        layers: str | Iterable[str] | None = None,
        **options: Any,
    ) -> QuantSim:
        """Find every encoding from data: see `qnb.sim.calibration.calibrate`. Returns the sim itself."""
        calibration.calibrate(self, batches, method, progress, layers=layers, **options)
        return self

    @changing
    def set_precision(self, layers: str | Iterable[str] | None, precision: str | Precision) -> QuantSim:
        """Give some layers another precision: their weights and their output (with all that is tied to it).

        Args:
            layers: a name, a glob (``"block1.*"``) or a list of them; None means all, inputs included.
            precision: as for `QuantSim`. Encodings follow from the statistics of the last calibration.

        Raises:
            InputError: a name that matches no layer, or a layer that is frozen.
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
        changed = {*map(self.activation, activations), *map(self.weight, weights)}
        if frozen := [layer for layer, _, m in self.sites() if m in changed and m.frozen]:
            remedy = f"sim.unfreeze({frozen[0]!r}) first"
            raise InputError("QuantSim.set_precision", f"layer {frozen[0]!r}, which freeze() keeps as it is", remedy)
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

    @staticmethod
    def _regrid(quantizer: Quantizer, grid, axis: int | None) -> None:
        quantizer.grid, quantizer.axis = grid, axis
        if not isinstance(grid, Grid):
            return
        quantizer.scale = quantizer.zero_point = None

    def enable(self, layers: str | Iterable[str] | None = None, kind: str | None = None) -> QuantSim:
        """Switch quantizers on: of some layers (name, glob, list), of one kind, or all."""
        return self._set("enabled", True, layers, kind, "QuantSim.enable")

    def disable(self, layers: str | Iterable[str] | None = None, kind: str | None = None) -> QuantSim:
        """Switch quantizers off: those tensors stay FP32."""
        return self._set("enabled", False, layers, kind, "QuantSim.disable")

    def freeze(self, layers: str | Iterable[str] | None = None) -> QuantSim:
        """Keep grid, scale and zero point of some layers' weights and outputs (with all that is tied to them) from now
        on: calibration, recovery methods and encodings files leave them alone, `set_precision` refuses them. Weights
        and biases themselves may still change, and quantizers be switched off and on.

        Args:
            layers: a name, a glob or a list of them; None means all, inputs included.

        Raises:
            CalibrationError: one of them has no encoding yet. InputError: a name that matches no layer.
        """
        return self._set("frozen", True, layers, None, "QuantSim.freeze")

    def unfreeze(self, layers: str | Iterable[str] | None = None) -> QuantSim:
        """Take `freeze` back."""
        return self._set("frozen", False, layers, None, "QuantSim.unfreeze")

    @changing
    def _set(self, flag: str, value: bool, layers, kind, operation: str) -> QuantSim:
        selection.kind(kind, operation)
        chosen = selection.layers((layer for layer, *_ in self.sites()), layers, operation)
        found = [(layer, module) for layer, k, module in self.sites() if layer in chosen and kind in (None, k)]
        if flag == "frozen":
            found = [(layer, module) for layer, module in found if isinstance(module, Quantizer)]
            if value and (without := [layer for layer, module in found if module.needs_calibration]):
                raise CalibrationError(operation, f"layer {without[0]!r} has no range yet", "calibrate it first")
        for _, module in found:
            setattr(module, flag, value)
        return self

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

    def exact(self, runtime: str) -> ExactSim:
        """A copy that computes, code for code, what a runtime's integer kernels compute.

        Products of integers are summed exactly and brought to the output's grid by the runtime's own rounding rules
        (`qnb.sim.exact`); ops that a runtime has no integer kernel for are simulated as before.

        Args:
            runtime: ``"onnxruntime"`` (its CPU kernels; W8A8) or ``"htp"`` (v75; W8A8 and W4A8).

        Raises:
            PrecisionError: a layer of another precision, by name.
        """
        return exact(self, runtime)

    def save(self, path: str | PathLike) -> None:
        """Write the sim, its graph included, to one file (safetensors + JSON): see `qnb.sim.storage.file`."""
        storage.save(self, path)

    @staticmethod
    def load(path: str | PathLike) -> QuantSim:
        """Read what `save` wrote; needs neither the user's model nor its class."""
        return storage.load(QuantSim, path)

    @changing
    def load_encodings(self, path: str | PathLike) -> QuantSim:
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
