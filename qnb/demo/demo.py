"""Demo: a trained model with the data to calibrate and evaluate it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qnb.errors import FileError

if TYPE_CHECKING:
    from torch import nn

    from qnb.measures import Score

WEIGHTS = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class Demo:
    """What a `qnb.Workflow` takes.

    Args:
        name: for example ``"digits"``.
        model: trained, in eval mode.
        calibration: 8 batches of 32 training inputs, without labels.
        evaluate: the metric on what is held out, with a value per sample.
        classes: how many; of a language model, its tokens.
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
    """Put the shipped weights into a model, in eval mode.

    Raises:
        FileError: there are none of that name.
    """
    from safetensors.torch import load_file

    path = WEIGHTS / f"{name}.safetensors"
    if not path.exists():
        raise FileError(f"qnb.demo.{name}()", f"{path.name} is missing", f"run python -m tools.train_demo {name}")
    model.load_state_dict(load_file(path), strict=True)
    return model.eval()
