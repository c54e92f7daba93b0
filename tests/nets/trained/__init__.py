"""Trained nets of six kinds with their data, offline and the same each time: `trained` by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

import qnb
from qnb.demo import data, shapes, text
from qnb.demo.detector import HELD_OUT
from tests.nets.trained import resnet, unet

WEIGHTS = Path(__file__).parent / "weights"
NAMES = ("digits", "transformer", "detector", "language", "unet", "resnet")
OF_THE_DEMO = NAMES[:4]


@dataclass(frozen=True)
class Trained:
    """A model in eval mode, 8 calibration batches of 32, batches of the held-out inputs, and the metric on them."""

    name: str
    model: nn.Module
    calibration: list[Any]
    held_out_inputs: list[Any]
    evaluate: Callable[[nn.Module], qnb.Score]


def trained(name: str) -> Trained:
    """One of `NAMES`; a new one each time, so that it may be changed."""
    if name in OF_THE_DEMO:
        demo = getattr(qnb.demo, name)()
        return Trained(name, demo.model, list(demo.calibration), _held_out(name), demo.evaluate)
    net = {"unet": unet, "resnet": resnet}[name]
    model = net.make()
    model.load_state_dict(load_file(WEIGHTS / f"{name}.safetensors"), strict=True)
    task = net.Task()
    return Trained(name, model.eval(), list(task.calibration.split(32)), list(task.held_out.split(100)), task.evaluate)


def _held_out(name: str) -> list[Any]:
    """What the demo's metric is taken on."""
    if name == "detector":
        return list(_pictures().clone().split(100))
    if name == "language":
        tokens = text.sequences(text.load().test, text.HELD_OUT)[:, :-1]
        return [{"input_ids": part} for part in tokens.split(100)]
    batches: list[torch.Tensor] = data.batches(data.load().test, 180)
    return [{"pixels": x} for x in batches] if name == "transformer" else batches


@cache
def _pictures() -> torch.Tensor:
    return shapes.pictures(HELD_OUT, shapes.HELD_OUT_SEED).images
