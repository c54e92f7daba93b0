"""AdaRound: learn whether each weight is rounded up or down (arXiv 2004.10568), by layer or by block (BRECQ)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor

from qnb.arguments import whole
from qnb.columns import LAYER
from qnb.errors import InputError
from qnb.methods.auto import Auto, with_integer_weights
from qnb.methods.layerwise.frontier import Frontier, Segment
from qnb.methods.layerwise.layers import WeightedLayer, integer_layers
from qnb.methods.layerwise.unfold import Product, by_element, products
from qnb.methods.method import method
from qnb.methods.reporting.progress import MethodProgress
from qnb.methods.reporting.result import Found
from qnb.methods.rounding.blocks import Block, by_block, by_layer
from qnb.methods.rounding.flips import flip
from qnb.methods.rounding.layer_problem import LayerProblem, is_by_channel, sampled
from qnb.methods.rounding.soft import Schedule, SoftRounding, learn
from qnb.methods.rounding.steps import Steps
from qnb.methods.rounding.tied import once_each, put_everywhere
from qnb.numerics import quantize
from qnb.progress import Report

if TYPE_CHECKING:
    from qnb.sim.quantsim import QuantSim

OPERATION = "qnb.methods.adaround"
COLUMNS = 32
"""Output positions per sample in an iteration: those of one feature map are much alike."""
FLIPS = 100
"""Steps of the search at most, and no more than iterations."""
TABLE = (LAYER, "loss_nearest", "loss", "flipped_fraction", "iterations", "rounding")


def _fits(sim: QuantSim, given: dict) -> None:
    for name in ("iterations", "batch_size", "memory_bytes"):
        whole(OPERATION, name, given[name], 0 if name == "memory_bytes" else 1)
    learning_rate, regularization, warm_start = (given[n] for n in ("learning_rate", "regularization", "warm_start"))
    if not (0 <= warm_start < 1 and learning_rate > 0 and regularization >= 0):
        raise InputError(
            OPERATION,
            f"learning_rate={learning_rate}, regularization={regularization}, warm_start={warm_start}",
            "use a positive learning rate, no negative regularization and a warm start of 0 up to 1",
        )
    integer_layers(sim, given["layers"], OPERATION)


@method(
    "adaround", "AdaRound", "round", fits=_fits, auto=Auto(50, with_integer_weights, removes=(0.7, 0.0), passes=600)
)
def adaround(
    sim: QuantSim,
    batches: Iterable,
    *,
    iterations: int = 500,
    layers: str | Iterable[str] | None = None,
    blocks: bool = False,
    batch_size: int = 32,
    learning_rate: float = 0.1,
    regularization: float = 4.0,
    warm_start: float = 0.2,
    early_stop: bool = True,
    memory_bytes: int = 2**30,
    seed: int = 0,
    progress: Report | None = None,
) -> Found:
    """Learn which weights to round up and which down, so that each layer's output comes closest to FP32's.

    Layer by layer in graph order, V minimizes ``|f(W~ x') - f(W x)|^2 + lambda sum(1 - |2 h(V) - 1|^beta)`` with
    ``W~ = s clip(floor(W / s) + h(V), n, p)``: x' is what the layers before, already rounded, give, and f the fused
    activation. Then a tabu search turns single weights over where that lowers the loss. The sim's weight becomes
    ``code * scale``, so that its quantizer, whose encoding stays, gives these codes. A layer that this does not help
    on ``batches`` keeps rounding to nearest.

    A twentieth of the usual 10,000 iterations is enough: each channel's loss is taken in units of its loss for
    rounding to nearest, so that one learning rate and lambda suit all; an iteration sees a sample of output positions,
    not whole feature maps; and the search settles what is left between or wrong.

    Args:
        batches: unlabelled, as the model takes them.
        iterations: per layer (or block), at most.
        layers: a name, a glob or a list of them; None means all.
        blocks: reconstruct the output of residual, attention and feed-forward blocks, with all their weights at once
            and their activations quantized (BRECQ), where the graph has such; every iteration sees a whole batch.
        batch_size: samples per iteration, for layers.
        learning_rate: Adam's.
        regularization: lambda, where the reconstruction loss is 1 for rounding to nearest.
        warm_start: the part of the iterations without regularizer.
        early_stop: end a layer's iterations as soon as nearly all of h is 0 or 1.
        memory_bytes: of kept activations; what is beyond lies in memory-mapped files.
        seed: of the samples.

    Returns:
        per layer ``loss_nearest`` and ``loss``: squared error of the layer's (or block's) output over its squared
        FP32 values; ``flipped_fraction`` of the weights that are not rounded to nearest; ``iterations``;
        ``rounding``, ``"learned"`` or ``"nearest"``; with ``blocks`` the ``block``'s number. The history's ``loss`` is
        that of an iteration's sample in units of what rounding to nearest has.

    Raises:
        InputError: options out of range. PrecisionError: no integer weights.

    Source: Nagel et al. 2020, arXiv 2004.10568; blocks: Li et al. 2021, arXiv 2102.05426, without its Fisher weights.

    >>> import torch, qnb
    >>> model, x = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU()).eval(), torch.randn(64, 8)
    >>> sim = qnb.QuantSim(model, x, "w3a8").calibrate([x])
    >>> result = qnb.methods.adaround(sim, [x], iterations=100)
    >>> bool((result.table.loss <= result.table.loss_nearest).all())
    True
    """
    schedule = Schedule(iterations, learning_rate, regularization, warm_start, early_stop)
    chosen, notes = once_each(sim, integer_layers(sim, layers, OPERATION))
    steps = Steps("adaround", MethodProgress.of(progress), iterations, seed)
    walk = Frontier(sim, batches, memory_bytes=memory_bytes, tick=steps.tick, operation=OPERATION)
    steps.blocks = by_block(sim, walk, chosen) if blocks else by_layer(chosen)
    rows = []
    for number, block in enumerate(steps.blocks):
        steps.start(number)
        walk.advance(block.layers[0].node)
        found = _round_block(sim, walk, block, schedule, batch_size, steps)
        rows += [row | {"block": number} for row in found]
    return Found(pd.DataFrame(rows, columns=[*TABLE, *(["block"] if blocks else [])]), notes=tuple(notes))


def _round_block(
    sim: QuantSim, walk: Frontier, block: Block, schedule: Schedule, batch_size: int, steps: Steps
) -> list[dict]:
    """Round the weights of a layer, or block, and put them into the sim; rows of the table."""
    segment = walk.segment(block.output)
    targets = [walk.shelf.keep(segment.target(batch)) for batch in steps.ticking(segment.count)]
    product = _product(sim, walk, block, segment)
    if product is not None:
        problem = sampled(walk, product, segment, targets, steps.tick, steps.generator)
        learned = [_learn_layer(sim, product, problem, schedule, batch_size, steps)]
    else:
        learned = _learn_block(sim, block, segment, targets, schedule, steps)
    nearest, loss = (
        _relative_error(segment, targets, weights, steps) for weights in ({}, _in_place_of(block, learned))
    )
    for target in targets:
        walk.shelf.release(target)
    better, rows = loss < nearest, []
    for layer, weight in zip(block.layers, learned, strict=True):
        flipped = _flipped_fraction(sim, layer, weight) if better else 0.0
        if better:
            put_everywhere(sim, layer, weight)
        rows.append(
            {
                LAYER: layer.layer,
                "loss_nearest": nearest,
                "loss": loss if better else nearest,
                "flipped_fraction": flipped,
                "iterations": steps.iteration,
                "rounding": "learned" if better else "nearest",
            }
        )
    return rows


def _learn_layer(
    sim: QuantSim, product: Product, problem: LayerProblem, schedule: Schedule, batch_size: int, steps: Steps
) -> Tensor:
    """AdaRound of one layer; its rounded weight.

    Each output channel's loss is taken in units of its own for rounding to nearest.
    """
    rounding = _rounding(sim, product.layer, product.rows)
    with torch.no_grad():
        nearest = problem.losses(rounding.weight(rounding.nearest_up))
    unit = nearest.clamp(min=max(1e-3 * float(nearest.mean()), torch.finfo(nearest.dtype).tiny))

    def reconstruction(weights: list[Tensor]) -> Tensor:
        return (problem.losses(weights[0], problem.sample(batch_size * COLUMNS)) / unit).mean()

    learn([rounding], reconstruction, schedule, steps.after)
    up = flip(problem, rounding, rounding.learned_up(), min(FLIPS, schedule.iterations), steps.tick)
    return product.weight(rounding.weight(up), sim.weight_tensor(product.layer.weight_key))


def _learn_block(
    sim: QuantSim, block: Block, segment: Segment, targets: list[Tensor], schedule: Schedule, steps: Steps
) -> list[Tensor]:
    """BRECQ: all weights of a block at once, for the block's output; also for a weight that is no single matrix."""
    roundings = [_rounding(sim, layer) for layer in block.layers]
    error = sum(_squared_error(segment, targets[i], i, {}) for i in steps.ticking(segment.count))
    unit = max(error / sum(target.numel() for target in targets), torch.finfo(torch.float32).tiny)

    def reconstruction(weights: list[Tensor]) -> Tensor:
        batch = int(torch.randint(segment.count, (), generator=steps.generator))
        output = segment.run(segment.values(batch), _in_place_of(block, weights))
        return (output - targets[batch]).float().square().mean() / unit

    learn(roundings, reconstruction, schedule, steps.after)
    return [rounding.weight(rounding.learned_up()) for rounding in roundings]


def _rounding(
    sim: QuantSim, layer: WeightedLayer, arranged: Callable[[Tensor], Tensor] = lambda weight: weight
) -> SoftRounding:
    """The layer's weight on its grid, in its own or another arrangement."""
    quantizer, weight = sim.weight(layer.weight_key), sim.weight_tensor(layer.weight_key).detach()
    scale, zero_point = (by_element(t.detach(), weight, quantizer) for t in (quantizer.scale, quantizer.zero_point))
    return SoftRounding(arranged(weight), arranged(scale), arranged(zero_point), quantizer.grid)


def _product(sim: QuantSim, walk: Frontier, block: Block, segment: Segment) -> Product | None:
    """A single layer as a matrix product with its output channels independent, where it is one."""
    if len(block.layers) > 1 or block.output != block.layers[0].group.output:
        return None
    found, _ = products(sim, list(block.layers))
    return found[0] if found and is_by_channel(walk, found[0], segment) else None


def _in_place_of(block: Block, weights: list[Tensor]) -> dict[str, Tensor]:
    """The weights as `Segment.run` takes them."""
    return {f"weight_quantizers.{layer.weight_key}": w for layer, w in zip(block.layers, weights, strict=True)}


def _squared_error(segment: Segment, target: Tensor, batch: int, replaced: dict[str, Tensor]) -> float:
    with torch.no_grad():
        return float((segment.run(segment.values(batch), replaced) - target).double().square().sum())


def _relative_error(segment: Segment, targets: list[Tensor], replaced: dict[str, Tensor], steps: Steps) -> float:
    """Squared error of the output over the squared FP32 output, on all batches."""
    error = sum(_squared_error(segment, targets[batch], batch, replaced) for batch in steps.ticking(segment.count))
    return error / max(sum(float(t.double().square().sum()) for t in targets), torch.finfo(torch.float64).tiny)


def _flipped_fraction(sim: QuantSim, layer: WeightedLayer, rounded: Tensor) -> float:
    """The part of the codes that are not the nearest."""
    quantizer = sim.weight(layer.weight_key)
    nearest, found = (
        quantize(w, *quantizer.encoding(), quantizer.grid, quantizer.axis, quantizer.block_size)
        for w in (sim.weight_tensor(layer.weight_key), rounded)
    )
    return float((found != nearest).double().mean())
