"""What a planted model is, and the trained models that things are planted in."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

import qnb
from qnb.demo import data
from qnb.demo.demo import Demo
from qnb.numerics import Precision


@dataclass(frozen=True)
class Planted:
    """``flow`` with ``run`` in it, which a diagnosis of should name ``layer`` (empty: no layer) first."""

    flow: qnb.Workflow
    run: str
    layer: str


@dataclass(frozen=True)
class Plant:
    """``make(strength)`` plants a ``cause``."""

    cause: str
    strengths: tuple
    make: Callable[[Any], Planted]


PLANTS: dict[str, Plant] = {}


def plant(cause: str, *strengths: Any) -> Callable:
    """Register what plants a cause."""

    def register(make: Callable[[Any], Planted]) -> Callable[[Any], Planted]:
        PLANTS[cause] = Plant(cause, strengths, make)
        return make

    return register


def digits() -> nn.Module:
    return copy.deepcopy(qnb.demo.digits().model)


def transformer() -> nn.Module:
    return copy.deepcopy(qnb.demo.transformer().model)


def planted(
    model: nn.Module,
    precision: str | Precision,
    layer: str,
    *,
    calibration: Sequence | None = None,
    evaluate: Callable | None = None,
    target: Any = "generic",
    tolerance: float = 0.01,
    demo: Demo | None = None,
    **run: Any,
) -> Planted:
    """A workflow over a model that takes digits, or what ``demo`` gives, with one run."""
    demo = demo or qnb.demo.digits()
    flow = qnb.Workflow(
        model.eval(),
        demo.calibration[:4] if calibration is None else calibration,
        evaluate or demo.evaluate,
        target=target,
        tolerance=tolerance,
    )
    return Planted(flow, flow.run(precision, name="planted", **run).name, layer)


class Pixels(nn.Module):
    """The transformer, called as the other models are; ``cut`` takes the logits."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(pixels=x).logits


class Times(nn.Module):
    def __init__(self, factor: float):
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


def first_ten(model: nn.Module) -> qnb.Score:
    """Accuracy by the first ten outputs."""
    return accuracy(lambda x: model(x)[:, :10])


def accuracy(model: Callable[[Tensor], Tensor], count: int | None = None) -> qnb.Score:
    split = data.load()
    images, labels = split.test[:count], split.test_labels[:count]
    right = (model(images).argmax(1) == labels).float()
    return qnb.Score(float(right.mean()), per_sample=right.tolist())
