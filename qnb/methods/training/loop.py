"""The training loop: steps, epochs, the best state, and a checkpoint to go on from."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import torch

from qnb.errors import InputError
from qnb.graph import ops
from qnb.measures.metrics.evaluation import score_of
from qnb.methods.reporting.progress import MethodProgress
from qnb.methods.training.checkpoint import Checkpoint, load_optimizer_state, optimizer_state
from qnb.methods.training.objective import OPERATION, Objective
from qnb.methods.training.schedule import learning_rate_factor
from qnb.methods.training.trained import Trained, put_encodings
from qnb.randomness import Draws, Seeded, drawn

if TYPE_CHECKING:
    from qnb.sim.quantsim import QuantSim

SECONDS_BETWEEN_FILES = 60.0
OPTIMIZERS = {"adam": torch.optim.Adam, "sgd": partial(torch.optim.SGD, momentum=0.9, nesterov=True)}


@dataclass(frozen=True)
class Settings:
    """Options of `qnb.methods.train` that the loop reads."""

    steps: int
    learning_rate: float
    scale_learning_rate: float
    optimizer: str | Callable
    schedule: str
    warmup: int
    learn_scales: bool
    learn_offsets: bool
    patience: int | None


@dataclass
class Place:
    """How far a training is: ``batch`` batches into this epoch, ``best`` and the epochs waited since."""

    step: int = 0
    epoch: int = 0
    batch: int = 0
    best: float | None = None
    waited: int = 0
    stopped: bool = False
    history: list[dict] = field(default_factory=list)


class Training:
    """One training of a sim that is on its device.

    Args:
        sim, loader: see `qnb.methods.train`.
        objective: batch to loss.
        evaluate: the validation metric, or None.
        home: the device that evaluate expects the sim on.
        checkpoint: None without; where its file exists, the training goes on from it.
        progress: a `qnb.methods.reporting.progress.MethodProgress`.
        draws: what the loader draws from, epoch after epoch.
    """

    def __init__(
        self,
        sim: QuantSim,
        loader,
        objective: Objective,
        settings: Settings,
        evaluate: Callable | None,
        home: torch.device | None,
        checkpoint: Checkpoint | None,
        progress: MethodProgress,
        draws: Draws,
    ):
        self.sim, self.loader, self.objective, self.settings = sim, loader, objective, settings
        self.evaluate, self.home, self.checkpoint, self.progress = evaluate, home, checkpoint, progress
        saved = checkpoint.read() if checkpoint is not None else None
        if saved is not None:
            put_encodings(sim, saved[1])
        self.trained = Trained(sim, settings.learn_scales, settings.learn_offsets)
        self.optimizer = self._optimizer()
        self.place, self.best = Place(), {}
        self.draws, self.random = draws, draws.generator()
        self.rng = self.epoch_rng = self.random.get_state()
        if saved is not None:
            self._restore(*saved)
        self.scheduler = self._scheduler()
        self.written = time.monotonic()

    def run(self) -> None:
        """To the last step, or until nothing is gained any more; then the best state is the sim's."""
        self.trained.require_gradient()
        with _cudnn(self.sim):
            self.objective.check(next(iter(Seeded(self.loader, self.draws.seed))))
        if self.evaluate is not None and self.place.best is None:
            if not self.place.history:
                self._record(0.0)
            self._judge()
        while (self.place.step < self.settings.steps or self.place.batch) and not self.place.stopped:
            self._epoch()  # also one whose steps are done, but not what follows them
        if self.best:
            self.trained.put(self.best)
        self.trained.finish()

    def _epoch(self) -> None:
        place = self.place
        going_on = place.batch > 0
        if going_on:
            self.random.set_state(self.epoch_rng)  # for the same order of batches
        self.epoch_rng = self.random.get_state()
        batches = drawn(self.loader, self.draws)
        if going_on:
            for _ in range(place.batch):
                next(batches)
            self.random.set_state(self.rng)
        while place.step < self.settings.steps and (batch := next(batches, None)) is not None:
            self._step(batch)
        if not place.batch:
            raise InputError(OPERATION, "a loader that gave no batch", "pass at least one batch")
        if self.evaluate is not None or self.settings.patience is not None:
            self._judge()
        place.epoch, place.batch = place.epoch + 1, 0
        self.rng = self.random.get_state()
        self._write()

    def _step(self, batch) -> None:
        self.report("training")
        self.optimizer.zero_grad(set_to_none=True)
        rate = self.optimizer.param_groups[0]["lr"]
        with torch.enable_grad(), _cudnn(self.sim):
            loss = self.objective(batch)
            self.report("training")
            loss.backward()
        value = float(loss.detach())
        if not math.isfinite(value):
            raise InputError(
                OPERATION,
                f"a loss of {value} at step {self.place.step + 1}",
                f"take a learning_rate below {self.settings.learning_rate}",
            )
        self.trained.take_gradients()
        self.optimizer.step()
        self.scheduler.step()
        self.trained.write()
        self.place.step, self.place.batch = self.place.step + 1, self.place.batch + 1
        self._record(rate, value)
        self.rng = self.random.get_state()
        if time.monotonic() - self.written > SECONDS_BETWEEN_FILES:
            self._write()
        self.report(f"training: loss {value:.4g}")

    def _record(self, rate: float, loss: float = math.nan) -> None:
        row = {
            "step": self.place.step,
            "epoch": self.place.epoch,
            "loss": loss,
            "learning_rate": rate,
            "metric": math.nan,
        }
        self.place.history.append(row)
        if math.isfinite(loss):
            self.progress.row(**row)

    def _judge(self) -> None:
        """Whether this is the best state up to here: by the metric, or by the epoch's loss."""
        place, rows = self.place, self.place.history
        if self.evaluate is not None:
            with self._at_home():
                tick = lambda _: self.report("training: evaluating")  # noqa: E731
                # A snapshot has a lock of its own: the evaluation may use threads, and the sim's is held until the end.
                score = score_of(self.evaluate, self.sim.snapshot(), "training", tick)
            rows[-1]["metric"] = score.value
            value = score.value if score.higher_is_better else -score.value
        else:
            losses = [row["loss"] for row in rows if row["epoch"] == place.epoch]
            value = -sum(losses) / len(losses)
        if place.best is None or value > place.best:
            place.best, place.waited, self.best = value, 0, self.trained.snapshot()
        else:
            place.waited += 1
            place.stopped = self.settings.patience is not None and place.waited >= self.settings.patience

    def report(self, message: str) -> None:
        """Progress; where it cancels, the checkpoint holds all steps up to here."""
        try:
            self.progress(self.place.step, self.settings.steps, message)
        except BaseException:
            self._write()
            raise

    def _optimizer(self) -> torch.optim.Optimizer:
        settings = self.settings
        groups = self.trained.groups(settings.learning_rate, settings.scale_learning_rate)
        if not groups:
            raise InputError(
                OPERATION,
                "nothing to train: no parameter requires a gradient, and learn_scales=False",
                "let some parameters of the model require gradients, or learn_scales=True",
            )
        make = settings.optimizer if callable(settings.optimizer) else OPTIMIZERS[settings.optimizer]
        return make(groups)

    def _scheduler(self) -> torch.optim.lr_scheduler.LambdaLR:
        s = self.settings
        factor = partial(learning_rate_factor, steps=s.steps, schedule=s.schedule, warmup=s.warmup)
        for group in self.optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
        return torch.optim.lr_scheduler.LambdaLR(self.optimizer, factor, last_epoch=self.place.step - 1)

    def _write(self) -> None:
        if self.checkpoint is None:
            return
        plain, moments = optimizer_state(self.optimizer)
        tensors = {**self.trained.start, **self.trained.named(), "rng": self.rng, "epoch_rng": self.epoch_rng}
        tensors |= {f"best/{name}": t for name, t in self.best.items()}
        tensors |= {f"optimizer/{name}": t for name, t in moments.items()}
        self.checkpoint.write({"place": asdict(self.place), "optimizer": plain}, tensors)
        self.written = time.monotonic()

    def _restore(self, state: dict, tensors: dict[str, torch.Tensor]) -> None:
        def below(prefix: str) -> dict[str, torch.Tensor]:
            return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}

        self.place = Place(**state["place"])
        self.trained.put(tensors)
        self.best = {name: t.to(self.sim.device) for name, t in below("best/").items()}
        load_optimizer_state(self.optimizer, state["optimizer"] | below("optimizer/"))
        self.rng, self.epoch_rng = tensors["rng"], tensors["epoch_rng"]
        self.random.set_state(self.rng)

    @contextmanager
    def _at_home(self):
        """The user's evaluation brings its own data to where the sim was."""
        device = self.sim.device
        if device == self.home:
            yield
            return
        self.sim.to(self.home)
        try:
            yield
        finally:
            self.sim.to(device)


def _cudnn(sim: QuantSim):
    """Off for recurrent layers on a GPU: in evaluation mode cuDNN's have no gradient."""
    if sim.device is None or sim.device.type != "cuda":
        return nullcontext()
    calls = [n for n in sim.graph_module.graph.nodes if n.op == "call_function"]
    recurrent = any(ops.of(n).family == "recurrent" for n in calls)
    return torch.backends.cudnn.flags(enabled=False) if recurrent else nullcontext()
