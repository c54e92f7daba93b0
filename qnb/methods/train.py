"""Quantization-aware training: weights and ranges learned with the quantizers in place."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from qnb.arguments import is_number, one_of, short, whole
from qnb.columns import LAYER
from qnb.errors import FileError, InputError, PrecisionError
from qnb.graph.batches import length
from qnb.methods.auto import Auto
from qnb.methods.method import MEASURED_BATCHES, method
from qnb.methods.reporting.progress import MethodProgress
from qnb.methods.reporting.result import Found
from qnb.methods.training.checkpoint import Checkpoint, identity
from qnb.methods.training.loop import OPTIMIZERS, Settings, Training
from qnb.methods.training.objective import OPERATION, Objective
from qnb.methods.training.schedule import SCHEDULES
from qnb.methods.training.trained import Trained
from qnb.numerics import Grid
from qnb.progress import Report
from qnb.randomness import Draws, Seeded

if TYPE_CHECKING:
    from qnb.sim.quantsim import QuantSim


def _measured_on(given: dict[str, Any]) -> list:
    """The first batches as the model takes them, to measure layers with."""
    sim, loss = given["sim"], given["loss"]
    split = Objective(sim, loss, 0.0, 1.0).split
    batches = [split(batch)[0] for batch in islice(Seeded(given["loader"], given["seed"]), MEASURED_BATCHES)]
    for batch in batches:
        sim.flatten(batch, OPERATION)
    return batches


def _fits(sim: QuantSim, given: dict[str, Any]) -> None:
    if not any(q.active and isinstance(q.grid, Grid) for q in sim.quantizers()):
        raise PrecisionError(
            OPERATION,
            f"no integer grid to train for ({sim.precision.name})",
            "use a precision with integers, for example w4a8",
        )
    _check_options(given)


@method(
    "train",
    "Quantization-aware training",
    "train",
    once=False,
    measured=_measured_on,
    fits=_fits,
    auto=Auto(70, removes=(0.8, 0.8), passes=3000),
)
def train(
    sim: QuantSim,
    loader: Iterable,
    loss: Callable[[Any, Any], torch.Tensor] | None = None,
    *,
    epochs: int = 20,
    steps: int | None = None,
    learning_rate: float = 1e-3,
    scale_learning_rate: float = 1e-2,
    optimizer: str | Callable = "adam",
    schedule: str = "cosine",
    warmup: int = 0,
    distill: float | None = None,
    temperature: float = 4.0,
    learn_scales: bool = True,
    learn_offsets: bool = True,
    evaluate: Callable | None = None,
    patience: int | None = None,
    checkpoint: str | PathLike | None = None,
    resume: bool = True,
    device: str | torch.device | None = None,
    seed: int = 0,
    progress: Report | None = None,
) -> Found:
    """Quantization-aware training: weights, biases, scales and zero points learned with the quantizers in place.

    By default no labels are needed: the simulation learns to give what the FP32 reference gives, by the divergence
    of class scores and the relative squared error of other outputs (`qnb.methods.training.distill`). All parameters
    train that require gradients, and the ranges of all integer grids (LSQ, arXiv 1902.08153; LSQ+, arXiv 2004.09576:
    `qnb.methods.training.lsq`) but fixed ones, masked scores and symmetric 16-bit grids. Each layer's precision is
    what it is. Batch norms are folded, and those that could not be keep the statistics of inference; dropout is off.

    Args:
        sim: a calibrated QuantSim. Activations of 8 bits and less start best from ``calibrate(batches, "mse")``.
        loader: re-iterable; without a loss, of batches as the model takes them. With one, of tuples ``(input, ...,
            target)`` or of dicts whose other keys are the target. Shuffle in the loader.
        loss: ``loss(output, target)`` to a 0-dim tensor, the output as the user's model gives it; None for
            distillation alone.
        epochs: passes through the loader; ``steps`` (of one batch each), if given, counts instead.
        learning_rate: of the parameters, at its height.
        scale_learning_rate: of ranges, relative to their size: 0.01 moves a scale by 1 % in a step of Adam.
        optimizer: ``"adam"``, ``"sgd"`` (momentum 0.9; its steps are smaller), or a callable that takes parameter
            groups, such as ``functools.partial(torch.optim.AdamW, weight_decay=0.01)``.
        schedule: ``"cosine"``, ``"linear"`` or ``"constant"``, after ``warmup`` steps of rising.
        distill: the share of distillation in the sum with ``loss``, 0 to 1; by default 0 with a loss.
        temperature: of class scores in distillation.
        learn_scales, learn_offsets: False keeps ranges, or zero points, as they are.
        evaluate: a metric, ``evaluate(sim)`` to a float or a `qnb.Score`, asked before training and after each epoch;
            the best state is kept.
        patience: stop after so many epochs without gain, by ``evaluate`` or else by the epoch's loss; the best state
            is kept.
        checkpoint: a file, written after each epoch, every minute and on a cancel. Where it exists already the
            training goes on from it, on one CPU thread to the same bits, as far as ``loader`` draws its random
            numbers from torch; ``resume=False`` starts over.
        seed: of what loader and loss draw through torch.
        device: where to train; None takes a GPU where there is one. Afterwards the sim is where it was.

    Returns:
        Result: per layer ``weight_scale_ratio`` and ``output_scale_ratio``, learned scales over those before
        (geometric mean); history ``step, epoch, loss, learning_rate, metric`` with the metric NaN where not asked.

    Raises:
        PrecisionError: there is no integer grid. InputError: options, batches, or a loss that is NaN.
        EvaluateError: loss or evaluate raised or gave no number. FileError: a checkpoint of another training.

    >>> import qnb
    >>> _ = torch.manual_seed(4)
    >>> model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4)).eval()
    >>> batches = [torch.randn(32, 8) for _ in range(4)]
    >>> sim = qnb.QuantSim(model, batches[0], "w3a4").calibrate(batches)
    >>> result = train(sim, batches, epochs=20)
    >>> result.output_after_db > result.output_before_db + 1
    True
    """
    settings = Settings(
        _steps(loader, epochs, steps),
        learning_rate,
        scale_learning_rate,
        optimizer,
        schedule,
        warmup,
        learn_scales,
        learn_offsets,
        patience,
    )
    share = _share(loss, distill)
    file = None
    if checkpoint is not None:
        options = {
            **vars(settings),
            "optimizer": _name(optimizer),
            "loss": _name(loss),
            "distill": share,
            "temperature": temperature,
            "evaluate": _name(evaluate),
            "seed": seed,
        }
        file = Checkpoint(checkpoint, identity(sim, options), resume)
    home, device = sim.device, _device(sim, device)
    if device != home:
        sim.to(device)
    draws = Draws(seed)
    objective = Objective(sim, loss, share, temperature, draws)
    training = Training(sim, loader, objective, settings, evaluate, home, file, MethodProgress.of(progress), draws)
    training.run()
    if device != home:
        sim.to(home)
        sim._moved_reference = None
    history = pd.DataFrame(training.place.history, columns=["step", "epoch", "loss", "learning_rate", "metric"])
    return Found(_layers(sim, training.trained), history, _notes(sim, training))


def _check_options(given: dict[str, Any]) -> None:
    for name, least in (("epochs", 1), ("steps", 1), ("patience", 1), ("warmup", 0)):
        if given[name] is not None or name in ("epochs", "warmup"):
            whole(OPERATION, name, given[name], least)
    for name in ("learning_rate", "scale_learning_rate", "temperature"):
        if not (is_number(given[name]) and 0 < given[name] < math.inf):
            _refuse(name, given, "give a positive number")
    one_of(OPERATION, "schedule", given["schedule"], SCHEDULES)
    if not callable(given["optimizer"]) and given["optimizer"] not in list(OPTIMIZERS):
        _refuse("optimizer", given, f"use one of {', '.join(OPTIMIZERS)}, or a callable that takes parameter groups")
    for name in ("loss", "evaluate"):
        if given[name] is not None and not callable(given[name]):
            _refuse(name, given, "give a function, or leave it out")
    share, path = given["distill"], given["checkpoint"]
    if share is not None and not (is_number(share) and 0 <= share <= 1 and (given["loss"] is not None or share == 1)):
        _refuse("distill", given, "give a share from 0 to 1; below 1 it also needs a loss")
    if path is not None and not isinstance(path, str | PathLike):
        _refuse("checkpoint", given, "give the path of a file")
    if path is not None and not Path(path).parent.is_dir():
        raise FileError(OPERATION, f"checkpoint {str(path)!r} in a folder that does not exist", "make the folder first")
    _device(given["sim"], given["device"])
    _steps(given["loader"], given["epochs"], given["steps"])


def _refuse(name: str, given: dict[str, Any], remedy: str):
    raise InputError(OPERATION, f"{name}={short(given[name])}", remedy)


def _steps(loader: Iterable, epochs: int, steps: int | None) -> int:
    if steps is not None:
        return steps
    count = length(loader)
    if count is None:
        raise InputError(OPERATION, "a loader without a length", "set the length of training with steps=")
    return epochs * count


def _share(loss: Callable | None, distill: float | None) -> float:
    return (1.0 if loss is None else 0.0) if distill is None else float(distill)


def _name(function: Callable | str | None) -> str | None:
    return function if function is None or isinstance(function, str) else getattr(function, "__name__", "a function")


def _device(sim: QuantSim, device: str | torch.device | None) -> torch.device | None:
    if device is None:
        on_cpu = sim.device is not None and sim.device.type == "cpu"
        return torch.device("cuda", torch.cuda.current_device()) if on_cpu and torch.cuda.is_available() else sim.device
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise InputError(OPERATION, f"device={short(device)}", "give 'cpu' or 'cuda', or leave device out") from error
    if found.type == "cuda" and not torch.cuda.is_available():
        raise InputError(OPERATION, f"device={str(found)!r} where torch finds no GPU", "leave device out")
    return found


def _layers(sim: QuantSim, trained: Trained) -> pd.DataFrame:
    """How far the ranges went, by layer."""

    def ratio(*paths: str) -> float:
        moved = [trained.ranges[p].theta.detach().cpu().flatten() for p in paths if p in trained.ranges]
        return math.exp(float(torch.cat(moved).mean())) if moved else math.nan

    weights = sim.plan.weights_of
    rows = [
        (
            g.layer,
            ratio(*(f"weight_quantizers.{k}" for k in weights.get(g.layer, ()))),
            ratio(f"activation_quantizers.{g.key}"),
        )
        for g in sim.groups
    ]
    return pd.DataFrame(rows, columns=[LAYER, "weight_scale_ratio", "output_scale_ratio"])


def _notes(sim: QuantSim, training: Training) -> tuple[str, ...]:
    notes, place = [], training.place
    integer = {k for k in sim.plan.activations if sim.activation(k).active and isinstance(sim.activation(k).grid, Grid)}
    kept = {k for k in integer if f"activation_quantizers.{k}" not in training.trained.ranges}
    if kept and training.settings.learn_scales:
        notes.append(f"Output ranges not trained (fixed, masked, or symmetric 16 bits): {len(kept)}.")
    if place.stopped:
        notes.append(
            f"Stopped after {place.step} of {training.settings.steps} steps: no gain in {place.waited} epochs."
        )
    return tuple(notes)
