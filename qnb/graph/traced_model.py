"""What torch.export traces: the user's model with flat inputs and outputs, watched for shapes it cannot handle."""

from __future__ import annotations

import contextlib

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from qnb.graph.recurrent import AsOneOp
from qnb.graph.structure import Structure, flatten


class Flat(nn.Module):
    """Calls the user's model with a flat list of tensors and remembers how its output is nested.

    Args:
        simple_shapes: raise `ShapesTooComplex` where variable sizes become long formulas.
    """

    def __init__(self, model: nn.Module, called: Structure, simple_shapes: bool = False):
        super().__init__()
        self.model, self.called = model, called
        self.watch = _ShapesStaySimple if simple_shapes else contextlib.nullcontext
        self.training = False  # not .eval(): the user's flags stay as they are

    def forward(self, *leaves: torch.Tensor) -> tuple[torch.Tensor, ...]:
        args, kwargs = self.called.build(leaves)
        try:
            with AsOneOp(), self.watch():
                result = self.model(*args, **kwargs)
        except Exception as error:
            raise Refused(str(error)) from error
        tensors, self.returned = flatten(result)
        return tuple(tensors)


class Refused(Exception):
    """What the model raised while it was traced is its cause.

    torch hangs the graph that it has so far on an exception, and prints that to standard error; on this one it cannot.
    """

    def __setattr__(self, name: str, value) -> None:
        if name != "partial_fx_graph":
            super().__setattr__(name, value)


class ShapesTooComplex(Exception):
    """A size became a formula so long that the tracer would reason about it for minutes."""


class _ShapesStaySimple(TorchFunctionMode):
    """Looks at every result's shape.

    Sizes of images in convolutional nets and of sentences in transformers take up to a dozen operations. Window
    attention pads and divides the image at every stage: in Swin, formulas of 300 operations, and minutes each.
    """

    LONGEST = 32

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for size in result.shape if isinstance(result, torch.Tensor) else ():
            if isinstance(size, torch.SymInt) and size.node.expr.count_ops() > self.LONGEST:
                raise ShapesTooComplex(f"a size of more than {self.LONGEST} operations")
        return result
