"""What an evaluation function receives: an nn.Module around a captured graph, with the user's own input and
output types."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import fx, nn

from qnb.errors import InputError, ModelAttributeError, QnbError
from qnb.graph.captured import check_device
from qnb.randomness import unwatched
from qnb.sharing import Lock, changing

if TYPE_CHECKING:
    from qnb.graph.captured import Captured


class GraphModel(nn.Module):
    """A captured graph that is called like the user's model.

    ``.eval()``, ``.train()``, ``.to()`` and ``.parameters()`` work; the tensors are shared with the capture and
    cloned before anything can write to them. Attributes of the user's class are not carried: asking for one is
    a `ModelAttributeError`.

    Threads may share it: ``lock`` is held shared by a forward pass, alone by a change (see `qnb.sharing`).
    """

    def __init__(self, captured: Captured, graph_module: fx.GraphModule):
        super().__init__()
        self.lock = Lock()
        self.captured = captured
        self.graph_module = graph_module
        self._shared = True
        self.eval()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Takes what the user's model takes; gives back its output type."""
        if torch.compiler.is_compiling():
            return self._forward(args, kwargs)
        with self.lock.shared(), unwatched():
            return self._forward(args, kwargs)

    def _forward(self, args: tuple, kwargs: dict) -> Any:
        flat = self.captured.flatten_call(args, kwargs, type(self).__name__)
        check_device(flat, self.device, type(self).__name__)
        return self.captured.unflatten(self.run_flat(flat))

    def flatten(self, batch: Any, operation: str) -> list[torch.Tensor]:
        """A batch's tensors, checked: what goes in is what was captured, on this model's device."""
        flat = self.captured.flatten(batch, operation)
        check_device(flat, self.device, operation)
        return flat

    @property
    def device(self) -> torch.device | None:
        """Where the tensors are; None where there are none."""
        return device_of(self.graph_module)

    def run_flat(self, inputs: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Flat inputs to flat outputs.

        Raises:
            InputError: sizes other than the example's that the graph cannot work with after all.
        """
        try:
            return self.graph_module(*inputs)
        except (RuntimeError, IndexError) as error:
            traced = [n.meta["val"].shape for n in self.captured.module.graph.nodes if n.op == "placeholder"]
            if isinstance(error, QnbError) or all(x.shape == s for x, s in zip(inputs, traced, strict=True)):
                raise
            shapes = ", ".join(str(tuple(x.shape)) for x in inputs)
            raise InputError(
                type(self).__name__,
                f"inputs of shape {shapes}: {str(error).splitlines()[0]}",
                "use the sizes of example_inputs, or capture with other example_inputs or dynamic_shapes",
            ) from error

    def own_tensors(self) -> None:
        """Clone what is shared with the capture, so that it may be written to."""
        if not self._shared:
            return
        with self.lock.alone():
            clones: dict[int, nn.Parameter] = {}  # a parameter with two names stays one parameter
            for module in self.graph_module.modules():
                for name, parameter in list(module._parameters.items()):
                    if parameter is not None:
                        setattr(module, name, clones.setdefault(id(parameter), _clone(parameter)))
                for name, buffer in list(module.named_buffers(recurse=False)):
                    setattr(module, name, buffer.clone())
            self._shared = False

    def named_parameters(self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True) -> Iterator:
        """As in nn.Module; whoever asks may write, so each one is the model's own from then on."""
        self.own_tensors()
        yield from super().named_parameters(prefix, recurse, remove_duplicate)

    def train(self, mode: bool = True) -> Self:
        if mode:
            self.own_tensors()
        if mode == self.training and all(m.training == mode for m in self.modules()):
            return self  # nothing to change: whoever evaluates it need not wait for those who read it
        with self.lock.alone():
            return super().train(mode)

    @changing
    def _apply(self, fn, recurse: bool = True):
        self.own_tensors()
        return super()._apply(fn, recurse)

    def __getattr__(self, name: str):
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name.startswith("__"):
                raise
            raise ModelAttributeError(
                type(self).__name__,
                f"it has no attribute {name!r}; it carries the captured computation, not the user's class",
                f"call the model itself, or read {name!r} from your own model",
            ) from None


class ReferenceModel(GraphModel):
    """The folded FP32 graph as a module: the baseline that metrics are compared with."""


def _clone(parameter: nn.Parameter) -> nn.Parameter:
    return nn.Parameter(parameter.detach().clone(), requires_grad=parameter.requires_grad)


def device_of(module: nn.Module) -> torch.device | None:
    """Where a module's tensors are; None where there are none."""
    return next((t.device for t in chain(module.parameters(), module.buffers())), None)
