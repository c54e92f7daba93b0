"""How far a small change of a model's outputs moves what they predict, as random directions.

A model's outputs are the parameters of a distribution: logits of a categorical one, other numbers the mean of a
Gaussian. Its Fisher information F says how far a small change moves it: KL(before || after) = 1/2 change' F change.
With F = L L' and random signs r, the direction g = L r has E[g g'] = F, so E[(g . change)^2] / 2 is that KL. Sampled
labels (g = onehot(label) - p) have the same mean, but where the model is sure of itself nearly all of it stands in
draws too rare to come up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx

from qnb.errors import EvaluateError, InputError
from qnb.graph import ops
from qnb.graph.capture_errors import at

if TYPE_CHECKING:
    from qnb.sim.quantsim import QuantSim

FAMILIES = ("softmax", "squares")
LEAST = 1e-3
"""Probabilities below this count as this: what is that rare has no weight in the metric."""


def direction(
    outputs: tuple[Any, ...], families: Mapping[int, str], samples: int, generator: torch.Generator
) -> list[tuple[Tensor, Tensor]]:
    """(output, g) for each output that counts; per prediction, and averaged over several outputs.

    Args:
        outputs: flat outputs of the model.
        families: place of an output -> ``"softmax"`` (logits), ``"probabilities"`` or ``"squares"``.
        samples: in the batch.
        generator: on the CPU.
    """
    found = []
    for place, family in families.items():
        z = outputs[place]
        signs = torch.randint(0, 2, z.shape, generator=generator).to(z.device, z.dtype) * 2 - 1
        g, predictions = _FACTORS[family](z.detach(), signs)
        found.append((z, g * (samples / max(predictions, 1) / len(families)) ** 0.5))
    return found


def _softmax(z: Tensor, signs: Tensor) -> tuple[Tensor, int]:
    """``F = diag(p) - p p' = L L'`` with ``L = diag(sqrt p) - p sqrt(p)'``, one for each row of logits."""
    axis = class_axis(z)
    p = torch.softmax(z, axis)
    spread = p.sqrt() * signs
    return spread - p * spread.sum(axis, keepdim=True), z.numel() // max(z.shape[axis], 1)


def _probabilities(p: Tensor, signs: Tensor) -> tuple[Tensor, int]:
    """Of probabilities themselves ``F = diag(1 / p)``."""
    return signs * p.clamp(min=LEAST).rsqrt(), p.numel() // max(p.shape[class_axis(p)], 1)


def _squares(z: Tensor, signs: Tensor) -> tuple[Tensor, int]:
    """A Gaussian whose variance is the output's power: half the noise-to-signal ratio."""
    finite = torch.isfinite(z)
    power = z[finite].double().square().mean() if finite.any() else z.new_zeros(())
    return signs * finite * power.clamp(min=1e-30).rsqrt().to(z.dtype), z.numel()


_FACTORS: dict[str, Callable[[Tensor, Tensor], tuple[Tensor, int]]] = {
    "softmax": _softmax,
    "probabilities": _probabilities,
    "squares": _squares,
}


def class_axis(z: Tensor) -> int:
    """Of images ``[N, classes, H, W]`` the second, else the last."""
    return 1 if z.dim() >= 4 else -1


def families(sim: QuantSim, said: str | None, operation: str) -> dict[int, str]:
    """What each output of a model is: place -> family. Outputs that are no floating-point numbers do not count.

    An output called ``logits``, or the only one if it is ``[N, classes]``, is logits, unless it is the result of a
    softmax; all others are numbers, ``"squares"``.

    Args:
        said: ``"softmax"`` or ``"squares"`` for all of them, None to find out.

    Raises:
        InputError: no output is of floating-point numbers, or there is no such family.
    """
    if said is not None and said not in FAMILIES:
        raise InputError(operation, f"loss={said!r}", "pass 'softmax', 'squares', or a function loss(output, target)")
    nodes = next(n for n in sim.captured.module.graph.nodes if n.op == "output").args[0]
    values = [n.meta.get("val") if isinstance(n, fx.Node) else None for n in nodes]
    floats = [i for i, v in enumerate(values) if isinstance(v, Tensor) and v.is_floating_point()]
    if not floats:
        raise InputError(
            operation,
            "a model whose outputs are not floating-point numbers",
            "return logits in place of classes, or use estimator='evaluate'",
        )
    names = [name.rpartition(".")[2] for name in sim.captured.returned.names()]
    logits = [i for i in floats if names[i] == "logits"]
    if said == "squares":
        return dict.fromkeys(floats, said)
    if said == "softmax":
        return {i: _kind(nodes[i]) for i in logits or floats}
    if logits:
        return {i: _kind(nodes[i]) for i in logits}
    alone = len(floats) == 1 and values[floats[0]].dim() == 2 and values[floats[0]].shape[-1] > 1
    ends = {i: _last_op(nodes[i]) for i in floats}
    return {i: _kind(nodes[i]) if alone or ends[i] in ("softmax", "log_softmax") else "squares" for i in floats}


def _kind(node: fx.Node) -> str:
    return "probabilities" if _last_op(node) == "softmax" else "softmax"


def _last_op(node: fx.Node) -> str:
    """The op that made an output's values, back through ops that only move them."""
    while node.op == "call_function" and ops.of(node).kind == "pass" and node.all_input_nodes:
        node = node.all_input_nodes[0]
    return ops.name(node) if node.op == "call_function" else ""


def user_loss(loss: Callable, output: Any, target: Any, operation: str) -> Tensor:
    """``loss(output, target)`` summed over its samples, with gradients.

    Raises:
        EvaluateError: it raised, or gave something that is no finite tensor with a gradient.
    """
    try:
        found = loss(output, target)
    except Exception as error:
        raise EvaluateError(
            operation,
            f"your loss raised {type(error).__name__}{at(error)}: {error}",
            "fix that line; it is called as loss(output, target)",
        ) from error
    if not isinstance(found, Tensor) or not found.requires_grad or not torch.isfinite(found).all():
        raise EvaluateError(
            operation,
            "a loss that is not a finite tensor with a gradient",
            "return for example torch's cross_entropy(output, target, reduction='none')",
        )
    return found.sum()


def split(sim: QuantSim, batch: Any, operation: str) -> tuple[Any, Any]:
    """``(inputs, target)``: the last element of a tuple; of a dict, what the model does not take."""
    if isinstance(batch, tuple | list) and len(batch) > 1:
        return (batch[0] if len(batch) == 2 else tuple(batch[:-1])), batch[-1]
    if isinstance(batch, Mapping):
        positional, named = sim.captured.called.children
        takes = {*sim.captured.parameters[: len(positional.children)], *named.keys}
        rest = {k: v for k, v in batch.items() if k not in takes}
        if rest:
            inputs = {k: v for k, v in batch.items() if k in takes}
            return inputs, next(iter(rest.values())) if len(rest) == 1 else rest
    raise InputError(
        operation,
        f"a batch ({type(batch).__name__}) with nothing for loss beside the inputs",
        "yield (inputs, target) pairs, or leave loss out",
    )
