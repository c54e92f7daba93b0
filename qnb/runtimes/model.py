"""A runtime as what an evaluation function receives: an nn.Module with the user's own inputs and outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from qnb.errors import ModelAttributeError
from qnb.runtimes.runtime import Runtime

if TYPE_CHECKING:
    from qnb.graph.captured import Captured


class RuntimeModel(nn.Module):
    """A file on a runtime, called like the user's model.

    Args:
        captured: the sim's ``captured``: how inputs and outputs are nested.
        runtime: of a file that `qnb.export_onnx` wrote.

    Example::

        qnb.accuracy(loader)(RuntimeModel(sim.captured, QnnHtp("w8a8.onnx")))
    """

    def __init__(self, captured: Captured, runtime: Runtime):
        super().__init__()
        self.captured, self.runtime = captured, runtime
        self.eval()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Takes what the user's model takes; gives back its output type, on the CPU."""
        flat = self.captured.flatten_call(args, kwargs, self.runtime.name)
        found = self.runtime.run(*(x.cpu() for x in flat))
        return self.captured.unflatten(found if isinstance(found, tuple) else (found,))

    def __getattr__(self, name: str):
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name.startswith("__"):
                raise
            raise ModelAttributeError(
                "RuntimeModel",
                f"it has no attribute {name!r}; it runs a file, not the user's class",
                f"call the model itself, or read {name!r} from your own model",
            ) from None
