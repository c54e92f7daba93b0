"""What a training minimises: the user's loss, distillation from FP32, or a mix of both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from qnb.errors import EvaluateError, InputError, QnbError
from qnb.graph.capture_errors import at
from qnb.methods.training.distill import Distillation
from qnb.randomness import Draws

if TYPE_CHECKING:
    from qnb.sim.quantsim import QuantSim

OPERATION = "qnb.methods.train"


class Objective:
    """A batch of the loader to a loss with gradients.

    Args:
        sim: as `QuantSim`, on the device to train on.
        loss: ``loss(output, target)`` to a 0-dim tensor, output in the user's own type; None for distillation alone.
        distill: the share of distillation, 0 to 1.
        temperature: of its class scores.
        draws: what the user's loss draws from.
    """

    def __init__(
        self,
        sim: QuantSim,
        loss: Callable[[Any, Any], Tensor] | None,
        distill: float,
        temperature: float,
        draws: Draws | None = None,
    ):
        self.sim, self.loss, self.share, self.temperature = sim, loss, distill, temperature
        self.draws, self.distillation = draws or Draws(0), None

    def __call__(self, batch: Any) -> Tensor:
        inputs, target = self.split(batch)
        flat = [moved(x, self.sim.device) for x in self.sim.captured.flatten(inputs, OPERATION)]
        outputs = self.sim.run_flat(flat)
        terms = []
        if self.share < 1:
            output = self.sim.captured.unflatten(outputs)
            terms.append((1 - self.share) * self._users(output, moved(target, self.sim.device)))
        if self.share > 0:
            terms.append(self.share * self._distilled(flat, outputs))
        return sum(terms)

    def split(self, batch: Any) -> tuple[Any, Any]:
        """``(inputs, target)`` of a batch; all of it is inputs where there is no loss of the user's.

        Of a tuple or list the last element is the target; of a dict, what the model does not take (one value, or
        a dict of several).
        """
        if self.loss is None:
            return batch, None
        remedy = "yield (inputs, target) pairs, or leave loss out to train without labels"
        if isinstance(batch, tuple | list) and len(batch) > 1:
            return (batch[0] if len(batch) == 2 else tuple(batch[:-1])), batch[-1]
        if isinstance(batch, Mapping):
            positional, named = self.sim.captured.called.children
            takes = {*self.sim.captured.parameters[: len(positional.children)], *named.keys}
            rest = {k: v for k, v in batch.items() if k not in takes}
            if rest:
                inputs = {k: v for k, v in batch.items() if k in takes}
                return inputs, next(iter(rest.values())) if len(rest) == 1 else rest
        raise InputError(OPERATION, f"a batch ({type(batch).__name__}) with nothing for loss beside the inputs", remedy)

    def check(self, batch: Any) -> None:
        """Try a batch; the learned tensors' gradients are as before.

        Raises:
            InputError: it does not fit the model, or there is nothing to learn from its outputs.
            EvaluateError: loss raised, or returned something that is not one finite number with a gradient.
        """
        with torch.enable_grad():
            loss = self(batch)
        if not loss.requires_grad:
            raise InputError(
                OPERATION,
                "outputs that depend on nothing that is trained",
                "check which parameters of the model require gradients",
            )
        if not torch.isfinite(loss):
            raise EvaluateError(
                OPERATION,
                f"a loss of {float(loss.detach())} on the first batch",
                "look for NaN in that batch, or for a division by zero in the loss",
            )

    def _users(self, output: Any, target: Any) -> Tensor:
        try:
            with self.draws:
                value = self.loss(output, target)  # pyright: ignore[reportOptionalCall]
        except QnbError:
            raise
        except Exception as error:
            received = f"your loss raised {type(error).__name__}{at(error)}: {error}"
            raise EvaluateError(OPERATION, received, "fix that line; it is called as loss(output, target)") from error
        if not isinstance(value, Tensor) or value.numel() != 1:
            shape = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise EvaluateError(OPERATION, f"your loss returned {shape}", "return one number, for example loss.mean()")
        return value.reshape(())

    def _distilled(self, flat: list[Tensor], outputs: tuple[Tensor, ...]) -> Tensor:
        with torch.no_grad():
            targets = self.sim.reference(*flat)
        if not any(t.is_floating_point() for t in targets):
            raise InputError(OPERATION, "a model without an output of floats", "train with a loss on labels of yours")
        if self.distillation is None:
            self.distillation = Distillation(self.sim.captured.returned.names(), targets, self.temperature)
        return self.distillation(outputs, targets)


def moved(value: Any, device: torch.device | None) -> Any:
    """Tensors of a nest of tuples, lists and dicts on a device."""
    if isinstance(value, Tensor):
        return value if device is None else value.to(device)
    if isinstance(value, Mapping):
        return {k: moved(v, device) for k, v in value.items()}
    if isinstance(value, tuple | list) and not hasattr(value, "_fields"):
        return type(value)(moved(v, device) for v in value)
    return value
