"""What an encodings file says of a tensor -> what the tensor's quantizer holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from qnb.export.encodings.entries import Encoding, Entry
from qnb.export.onnx.tensors import FileTensor
from qnb.numerics import FloatGrid, Grid
from qnb.sim.placement.plan import WeightSite

if TYPE_CHECKING:
    from qnb.sim.quantsim import QuantSim


class Fit:
    """Fits encodings to the quantizers of one sim."""

    def __init__(self, sim: QuantSim):
        self.sim = sim
        self.weights = {sim.weight(key): site for key, site in sim.plan.weights.items()}
        self.activations = {sim.activation(key): site for key, site in sim.plan.activations.items()}

    def assign(self, tensor: FileTensor, entry: Entry, encoding: Encoding) -> None:
        """Give a tensor's quantizer the encoding, unless it is frozen; the range follows from it, for changes of
        precision to come."""
        quantizer = tensor.quantizer
        if quantizer.frozen:
            return
        quantizer.enabled = not (encoding.floating and encoding.bits == 32)
        if not quantizer.enabled:
            return
        if encoding.floating:
            quantizer.grid, quantizer.axis, quantizer.scale, quantizer.zero_point = FloatGrid("fp16"), None, None, None
            return
        quantizer.grid, quantizer.axis, scale, zero_point = self.layout(tensor, entry, encoding)
        if tensor.factor != 1.0:
            scale = (scale.double() / tensor.factor).float()
        device = next((p.device for p in self.sim.graph_module.parameters()), None)
        quantizer.set_encoding(scale.to(device), zero_point.to(device))  # pyright: ignore[reportCallIssue]
        quantizer.minimum, quantizer.maximum = (end.detach() for end in quantizer.limits())  # pyright: ignore[reportCallIssue]
        quantizer.statistics = quantizer.rule = None

    def layout(
        self, tensor: FileTensor, entry: Entry, encoding: Encoding
    ) -> tuple[Grid, int | None, torch.Tensor, torch.Tensor]:
        """(grid, axis, scale, zero_point) as a `Quantizer` has them.

        Raises:
            FileError: another axis than the op's, or another number of scales than there are channels or blocks.
        """
        symmetric = self.symmetric(tensor, encoding) if encoding.symmetric is None else encoding.symmetric
        site = self.weights.get(tensor.quantizer)
        if encoding.layout == "tensor" or site is None or site.axis is None:
            grid, axis, shape = Grid(encoding.bits, symmetric), None, ()
        else:
            grid = Grid(encoding.bits, symmetric, encoding.layout, encoding.block_size)
            sizes = tensor.constant.shape
            axis = site.axis if encoding.layout == "channel" else site.block_axis
            if encoding.axis not in (None, axis, axis - len(sizes)):
                raise entry.error(f"axis {encoding.axis}", f"use axis {axis}")
            shape = (sizes[axis],) if encoding.layout == "channel" else _blocks(site, sizes, entry, encoding)  # pyright: ignore[reportCallIssue]
        wanted = torch.Size(shape).numel()
        if encoding.scale.numel() != wanted:
            raise entry.error(f"{encoding.scale.numel()} scales where {wanted} fit", f"give it {wanted}")
        scale, zero = (_order(values, encoding, site, shape) for values in (encoding.scale, encoding.zero))
        return grid, axis, scale, (zero + grid.qmin).float()

    def symmetric(self, tensor: FileTensor, encoding: Encoding) -> bool:
        """For codes that say nothing of it: what the sim itself would take at this bit-width."""
        site, own = self.activations.get(tensor.quantizer), self.sim.precision.activations
        if site is None:
            return False
        return (site.symmetric_at_16 and encoding.bits == 16) or (isinstance(own, Grid) and own.symmetric)


def _blocks(site: WeightSite, sizes: torch.Size, entry: Entry, encoding: Encoding) -> tuple[int, ...]:
    """Shape of the scales of blocks: shared off the two axes, unless the file has one for each place."""
    along = sizes[site.block_axis]  # pyright: ignore[reportCallIssue]
    if along % encoding.block_size:
        raise entry.error(f"block_size {encoding.block_size}", f"use one that divides {along}")
    places = [n // encoding.block_size if i == site.block_axis else n for i, n in enumerate(sizes)]
    if encoding.scale.numel() == torch.Size(places).numel():
        return tuple(places)
    return tuple(n if i in (site.axis, site.block_axis) else 1 for i, n in enumerate(places))


def _order(values: torch.Tensor, encoding: Encoding, site: WeightSite | None, shape: tuple[int, ...]) -> torch.Tensor:
    if encoding.channels_first and site is not None and len(shape) > 1 and site.block_axis < site.axis:
        values = values.reshape(shape[site.axis], -1).T  # pyright: ignore[reportCallIssue]
    return values.reshape(shape)
