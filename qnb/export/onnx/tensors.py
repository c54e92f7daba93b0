"""The tensors of an exported file: their names, and the quantizer that each one's encoding comes from."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from qnb.graph.names import Names as Names
from qnb.numerics import FloatGrid, Grid
from qnb.sim.quantizer import BiasQuantizer, Quantizer, spread


@dataclass(frozen=True)
class FileTensor:
    """One quantized tensor of a file.

    Args:
        name: in the file.
        kind: input, activation, weight or bias.
        layer: whose output or parameter it is.
        quantizer: the sim's; several tensors may share it.
        factor: the tensor's scale over the quantizer's: that of a value times a positive number.
        constant: the parameter it holds, for weights, biases and tables.
        follows: the tensor has no quantizer of its own: its values are only moved or scaled.
    """

    name: str
    kind: str
    layer: str
    quantizer: Quantizer | BiasQuantizer
    factor: float = 1.0
    constant: torch.Tensor | None = None
    follows: bool = False

    @property
    def active(self) -> bool:
        return self.quantizer.active

    @property
    def grid(self) -> Grid | FloatGrid:
        return Grid(32, symmetric=True) if self.kind == "bias" else self.quantizer.grid

    @property
    def axis(self) -> int | None:
        if self.kind == "bias":
            return 0 if self.quantizer.scale.dim() else None
        return self.quantizer.axis

    @property
    def block_size(self) -> int | None:
        return None if self.kind == "bias" else self.quantizer.block_size

    @property
    def scale(self) -> torch.Tensor:
        """As the sim computes with it: float32, float64 for a bias; of shape ``()``, ``(channels,)`` or the blocks'."""
        if self.kind == "bias":
            scale = self.quantizer.scale
            return spread(scale, self.constant.numel()) if scale.dim() else scale
        scale, _ = self.quantizer.encoding()  # pyright: ignore[reportCallIssue]
        return (scale.detach().double() * self.factor).float() if self.factor != 1.0 else scale.detach()

    @property
    def zero_point(self) -> torch.Tensor:
        """Integers, of the scale's shape."""
        if self.kind == "bias":
            return torch.zeros_like(self.scale)
        return self.quantizer.encoding()[1].detach().round()  # pyright: ignore[reportCallIssue]

    @property
    def stored(self) -> tuple[Grid | FloatGrid, torch.Tensor]:
        """(grid, zero_point) of the codes in an ONNX file: activations are unsigned there.

        A symmetric activation's codes and zero point move up by half the grid: the same values, and one type for all
        of an op's activations, which runtimes ask for.
        """
        grid, zero_point = self.grid, self.zero_point
        if self.constant is None and isinstance(grid, Grid) and grid.symmetric:
            return Grid(grid.bits), zero_point + 2 ** (grid.bits - 1)
        return grid, zero_point
