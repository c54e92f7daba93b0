"""Sensitivity of all quantizers from one forward and one backward pass of the FP32 model."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx

from qnb.errors import InputError, QnbError
from qnb.graph import ops
from qnb.measures.metrics.intervals import Ratio
from qnb.measures.sensitivity import likelihood
from qnb.measures.sensitivity.samples import per_sample, sample_count
from qnb.measures.sensitivity.single_quantizer import Alone, Site, Values, call, tensors


class Fisher:
    """Scores of the quantizers of ``alone.sites``, batch by batch.

    A quantizer alone changes the value where its error enters by e, and the outputs, to first order, by J e. What
    that does to the model's predictions is ``KL = 1/2 E[(g . e)^2]``, g the gradient at that place of a random
    direction of the outputs (`likelihood`): the Fisher information's curvature (arXiv 1412.1193) along
    the error. Unlike a trace of it (FIT, arXiv 2210.08502) it takes a sample's error as a whole: one weight's error
    comes back at every position. An op that is flat almost everywhere (round, sign) hides what stands before it. Each
    direction belongs to one sample, so that samples do not mix.

    Args:
        loss: None, ``"softmax"`` or ``"squares"`` say what the outputs are; a function ``loss(output, target)`` takes
            the place of random directions.
        seed: of the directions.
        tick: called before every op with how many of a batch's ``steps`` are done.
    """

    def __init__(
        self, alone: Alone, loss: str | Callable | None, seed: int, tick: Callable[[int], None], operation: str
    ):
        self.alone, self.tick, self.operation = alone, tick, operation
        self.steps = 1
        self.loss = loss if callable(loss) else None
        self.families = {} if callable(loss) else likelihood.families(alone.sim, loss, operation)
        self.generator = torch.Generator().manual_seed(seed)
        self.at: dict[fx.Node, list[Site]] = {}
        for site in alone.sites:
            for node in site.enters:
                self.at.setdefault(node, []).append(site)
        self.ratios = {site.path: Ratio() for site in alone.sites}

    def batch(self, batch: Any) -> None:
        """Take a batch: one forward pass, one backward pass; inner products are all that is kept."""
        sim = self.alone.sim
        inputs, target = likelihood.split(sim, batch, self.operation) if self.loss else (batch, None)
        flat = sim.flatten(inputs, self.operation)
        count = sample_count(sim.captured, flat)
        found: dict[str, Tensor] = {}
        leaves: list[Tensor] = []
        try:
            with torch.enable_grad():
                values = self._forward(flat, leaves, partial(self._inner, count=count, found=found))
                self._backward(self._seeds(values, count, target), leaves)
        except QnbError:
            raise
        except (RuntimeError, NotImplementedError) as error:
            if not any(word in str(error) for word in ("derivative", "differentiable", "autograd formula")):
                raise
            raise InputError(
                self.operation,
                f"a model with an op that has no gradient ({str(error).splitlines()[0]})",
                "use estimator='sqnr', which needs none",
            ) from error
        for site in self.alone.sites:
            inner = found.get(site.path, torch.zeros(count, dtype=torch.float64))
            self.ratios[site.path].add(inner.square() / 2, torch.full_like(inner, count / len(inner)))

    def _forward(self, flat: Iterable[Tensor], leaves: list[Tensor], hook: Callable) -> Values:
        """FP32 values of every node; where an error enters, ``hook`` sees the gradient."""
        alone, values, supply = self.alone, {}, iter(flat)
        read = alone.read(values)
        for node in alone.nodes:
            self.tick(0)
            if node in alone.constant:
                continue
            if node.op == "placeholder":
                values[node] = next(supply)
                continue
            if node.op == "call_module":
                value = values[node.args[0]]
            elif ops.of(node).family == "recurrent":  # cuDNN's have no backward pass outside training
                with torch.backends.cudnn.flags(enabled=False):
                    value = call(node, read)
            else:
                value = call(node, read)
            values[node] = self._watched(value, node, values, leaves, hook) if node in self.at else value
        return values

    @staticmethod
    def _watched(value: Any, node: fx.Node, values: Values, leaves: list[Tensor], hook: Callable) -> Any:
        """The value as tensors of its own, whose gradients are those of this node alone."""

        def watch(part: Any, place: int) -> Any:
            if not isinstance(part, Tensor) or not part.is_floating_point():
                return part
            if not part.requires_grad:
                part = part.detach().requires_grad_()
                leaves.append(part)
            part = part.view_as(part)
            part.register_hook(lambda g: hook(g, node, place, values))
            return part

        if isinstance(value, tuple | list):
            return tuple(watch(part, i) for i, part in enumerate(value))
        return watch(value, 0)

    def _inner(
        self, gradient: Tensor, node: fx.Node, place: int, values: Values, count: int, found: dict[str, Tensor]
    ) -> None:
        """Add ``g . e`` of each sample, for every quantizer whose error enters here."""
        for site in self.at[node]:
            self.tick(0)
            error = self.alone.error(site, node, values)[place]
            shape = node.meta.get("quantizes", node).meta.get("shape")
            inner = per_sample(gradient * error, count, shape)
            if not torch.isfinite(inner).all():  # what has no effect may be infinite, for example behind a mask
                inner = per_sample(torch.where(gradient == 0, 0.0, gradient * error), count, shape)
            before = found.get(site.path)
            if before is not None and before.shape != inner.shape:
                before, inner = before.sum()[None], inner.sum()[None]
            found[site.path] = inner if before is None else before + inner

    def _seeds(self, values: Values, count: int, target: Any) -> list[tuple[Tensor, Tensor | None]]:
        read = self.alone.read(values)
        outputs = tuple(read(n) if isinstance(n, fx.Node) else n for n in self.alone.output.args[0])
        for output in tensors(outputs):
            if output is not None and torch.isnan(output).any():
                raise InputError(self.operation, "outputs that are NaN in FP32", "look at that batch's data")
        if self.loss is not None:
            output = self.alone.sim.captured.unflatten(outputs)
            return [(likelihood.user_loss(self.loss, output, target, self.operation), None)]
        return likelihood.direction(outputs, self.families, count, self.generator)

    def _backward(self, seeds: list[tuple[Tensor, Tensor | None]], leaves: list[Tensor]) -> None:
        seeds = [(z, g) for z, g in seeds if z.requires_grad]
        if seeds and leaves:
            torch.autograd.grad([z for z, _ in seeds], leaves, [g for _, g in seeds], allow_unused=True)
