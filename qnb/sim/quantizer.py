"""Quantizer modules: a grid, its encoding, and the one quantize-dequantize op."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from qnb.errors import CalibrationError
from qnb.numerics import FloatGrid, Grid, affine_parameters, fake_quantize, fake_quantize_
from qnb.numerics.kernel import per_tensor

ONE = torch.ones(())
ZERO = torch.zeros(())


class Quantizer(nn.Module):
    """Quantizes one tensor (or several tied ones) on one grid.

    Args:
        name: the tensor's readable name, for errors.
        grid: None passes the tensor through.
        axis: channel or block axis, None for one scale.
        fixed: (min, max) that calibration may not change.

    Where it is ``frozen``, it takes no other range or encoding.

    ``scale`` and ``zero_point`` are float32 parameters without gradient until training asks for it; both are
    None before calibration. Shapes: 0-dim, ``(channels,)``, or the blocks' shape (see `fake_quantize`).
    """

    def __init__(
        self,
        name: str,
        grid: Grid | FloatGrid | None,
        axis: int | None = None,
        fixed: tuple[float, float] | None = None,
    ):
        super().__init__()
        self.name, self.grid, self.axis, self.fixed = name, grid, axis, fixed
        self.enabled, self.frozen = True, False
        self.observer = None
        self.statistics = None
        self.rule: tuple[str, dict] | None = None
        self.minimum = self.maximum = None
        self._ends: tuple = (None, 0, None, 0.0, 0.0)
        self.register_parameter("scale", None)
        self.register_parameter("zero_point", None)

    @property
    def block_size(self) -> int | None:
        return self.grid.block_size if isinstance(self.grid, Grid) and self.grid.granularity == "block" else None

    @property
    def active(self) -> bool:
        return self.enabled and self.grid is not None

    @property
    def needs_calibration(self) -> bool:
        return isinstance(self.grid, Grid) and self.scale is None

    def set_range(self, minimum: torch.Tensor, maximum: torch.Tensor) -> None:
        """Take the encoding of a range; it is widened to contain zero."""
        if self.frozen:
            return
        self.minimum, self.maximum = minimum.detach(), maximum.detach()
        scale, zero_point = affine_parameters(self.minimum, self.maximum, self.grid)
        self.set_encoding(scale, zero_point)

    def set_encoding(self, scale: torch.Tensor, zero_point: torch.Tensor) -> None:
        if self.frozen:
            return
        self.scale = nn.Parameter(scale.detach().clone(), requires_grad=False)
        self.zero_point = nn.Parameter(zero_point.detach().clone(), requires_grad=False)

    def clear(self) -> None:
        """Forget the encoding; the next forward pass asks for calibration."""
        if self.frozen:
            return
        self.scale = self.zero_point = self.minimum = self.maximum = self.statistics = None

    def encoding(self) -> tuple[torch.Tensor, torch.Tensor]:
        """``(scale, zero_point)``; a float grid has none, so ones and zeros."""
        if isinstance(self.grid, FloatGrid):
            return ONE, ZERO
        if self.scale is None:
            raise CalibrationError(
                f"quantize {self.name!r}", "it has no range yet", "call calibrate(batches) on the QuantSim first"
            )
        return self.scale, self.zero_point

    def limits(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Lowest and highest value the grid holds, in the tensor's units."""
        if isinstance(self.grid, FloatGrid):
            return torch.tensor(-self.grid.max), torch.tensor(self.grid.max)
        scale, zero_point = self.encoding()
        return (self.grid.qmin - zero_point) * scale, (self.grid.qmax - zero_point) * scale

    def forward(self, x: torch.Tensor, fresh: bool = False) -> torch.Tensor:
        """Quantize and dequantize; ``fresh`` says that nothing else sees ``x``, so it may be overwritten."""
        if self.observer is not None:
            self.observer(x)
            return x
        if not self.active:
            return x
        if not torch.is_grad_enabled() and not torch.compiler.is_compiling():
            return self._without_gradient(x, fresh)
        scale, zero_point = self.encoding()
        return fake_quantize(x, scale, zero_point, self.grid.name, self.axis, self.block_size)

    def _without_gradient(self, x: torch.Tensor, fresh: bool) -> torch.Tensor:
        """For one scale on the CPU the grid's ends are kept as numbers until the encoding changes."""
        scale, zero_point = self._parameters["scale"], self._parameters["zero_point"]
        plain = self.axis is None and scale is not None and x.dtype == torch.float32
        if not plain or x.is_cuda or isinstance(self.grid, FloatGrid):
            scale, zero_point = self.encoding()
            quantize = fake_quantize_ if fresh else fake_quantize
            return quantize(x, scale, zero_point, self.grid.name, self.axis, self.block_size)
        of, version, grid, low, high = self._ends
        if of is not zero_point or version != zero_point._version or grid != self.grid:
            shift = float(zero_point)
            low, high = self.grid.qmin - shift, self.grid.qmax - shift
            self._ends = (zero_point, zero_point._version, self.grid, low, high)
        return per_tensor(x, scale, low, high, fresh)

    def extra_repr(self) -> str:
        return f"{self.name}, {self.grid.name if self.grid else 'float'}"


class Kept:
    """A quantized constant, until what it is made of changes.

    Threads may ask at once, and drop it at any moment: what is kept is one tuple, read once and replaced as a whole.
    Snapshots of a simulation share it.
    """

    def __init__(self):
        self._kept: tuple | None = None

    def get(self, made_of: tuple, make: Callable[[], torch.Tensor]) -> torch.Tensor:
        """What ``make()`` gives, from tensors and settings that are the same as the last time or not."""
        state = tuple(map(_state, made_of))
        kept = self._kept
        if kept is None or kept[0] != state:
            with torch.inference_mode(False), torch.no_grad():
                kept = state, made_of, make()  # with the tensors, so that no other can come to have their id
            self._kept = kept
        return kept[2]

    def drop(self) -> None:
        self._kept = None

    def __deepcopy__(self, memo) -> Kept:
        return Kept()


def _state(part):
    """Changes whenever a kept result is stale. ``_version`` counts writes; moving to a device moves the data."""
    return (id(part), part._version, part.data_ptr()) if isinstance(part, torch.Tensor) else part


class WeightQuantizer(Quantizer):
    """A quantizer of a constant: without gradient the result is kept until weight or encoding changes."""

    def __init__(self, name: str, grid, axis: int | None = None):
        super().__init__(name, grid, axis)
        self._kept = Kept()

    def forward(self, x: torch.Tensor, fresh: bool = False) -> torch.Tensor:
        if not self.active:
            return x
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            return super().forward(x)
        scale, zero_point = self.encoding()
        made_of = x, scale, zero_point, self.grid, self.axis
        return self._kept.get(
            made_of, lambda: fake_quantize(x.detach(), scale, zero_point, self.grid.name, self.axis, self.block_size)
        )

    def drop_cache(self) -> None:
        self._kept.drop()


class BiasQuantizer(nn.Module):
    """int32 bias with scale ``s_input * s_weight`` and zero point 0; codes in float64.

    Float where the input, or the weight, is not on an integer grid of one scale per channel.
    """

    def __init__(self, name: str, inputs: Quantizer, weight: WeightQuantizer, factor: float):
        super().__init__()
        self.name, self.factor, self.enabled = name, factor, True
        self._refs = (inputs, weight)  # a tuple, so that they are not registered twice
        self._kept = Kept()

    @property
    def active(self) -> bool:
        return self.enabled and all(
            q.enabled
            and isinstance(q.grid, Grid)
            and q.grid.granularity != "block"
            and q._parameters["scale"] is not None
            for q in self._refs
        )

    @property
    def scale(self) -> torch.Tensor:
        """Shape ``()`` or ``(channels,)``, float64."""
        inputs, weight = self._refs
        return inputs.scale.double() * self.factor * weight.scale.double()

    def forward(self, bias: torch.Tensor) -> torch.Tensor:
        inputs, weight = self._refs
        if inputs.observer is not None or not self.active:
            return bias
        if torch.is_grad_enabled():
            exact = self._quantize(bias.detach())
            return bias + (exact - bias.detach())
        if torch.compiler.is_compiling():
            return self._quantize(bias)
        made_of = bias, inputs._parameters["scale"], weight._parameters["scale"]
        return self._kept.get(made_of, lambda: self._quantize(bias.detach()))

    def _quantize(self, bias: torch.Tensor) -> torch.Tensor:
        scale = spread(self.scale, bias.numel())
        codes = torch.round(bias.double() / scale).clamp_(-(2**31), 2**31 - 1)
        return (codes * scale).to(bias.dtype)

    def drop_cache(self) -> None:
        self._kept.drop()


def spread(scale: torch.Tensor, channels: int) -> torch.Tensor:
    """Per-channel scales for ``channels`` outputs: a grouped transposed convolution repeats its own."""
    return scale.repeat(channels // scale.numel()) if scale.dim() and scale.numel() != channels else scale
