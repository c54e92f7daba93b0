"""Demo: a trained model with the data to calibrate and evaluate it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from qnb.errors import FileError
from qnb.measures import Score

WEIGHTS = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class Demo:
    """What a `qnb.Workflow` takes.

    Args:
        name: ``"digits"``, say.
        model: trained, in eval mode.
        calibration: batches of training inputs, without labels.
        evaluate: accuracy on held-out data, with a value per sample.
        classes: how many.
        description: one sentence.
    """

    name: str
    model: nn.Module
    calibration: Sequence[Any]
    evaluate: Callable[[nn.Module], Score]
    classes: int
    description: str

    def __repr__(self) -> str:
        return f"Demo({self.name}: {self.description})"


def load_weights(model: nn.Module, name: str) -> nn.Module:
    """Put the shipped weights into a model, in eval mode."""
    from safetensors.torch import load_file

    path = WEIGHTS / f"{name}.safetensors"
    if not path.exists():
        raise FileError(f"qnb.demo.{name}()", f"{path.name} is missing", f"run python -m tools.train_demo {name}")
    model.load_state_dict(load_file(path), strict=True)
    return model.eval()
