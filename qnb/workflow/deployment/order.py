"""What a deployment is asked for, checked before any work."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from qnb.arguments import flag, one_of, whole
from qnb.errors import FileError, InputError
from qnb.export.onnx.file import default_form
from qnb.runtimes import RUNTIMES
from qnb.runtimes import soc as socs
from qnb.targets import Target
from qnb.workflow.deployment import device_inputs
from qnb.workflow.deployment.performance import check_threads, sim_of
from qnb.workflow.deployment.staging import check_ours
from qnb.workflow.results import check_has_data
from qnb.workflow.run import Run

if TYPE_CHECKING:
    from qnb.workflow.workflow import Workflow


@dataclass(frozen=True)
class Order:
    """What a deployment is asked for, checked before any work.

    Args:
        run: a `Run`.
        samples: how many the layers are compared on.
        evaluate: None lets an emulator evaluate where that takes less than two minutes.
    """

    run: Run
    folder: Path
    runtimes: tuple[str, ...]
    soc: socs.Soc
    samples: int
    evaluate: bool | None
    integer_io: bool
    threads: int | None

    @property
    def stem(self) -> str:
        """The run's name as a file name."""
        return re.sub(r"[^A-Za-z0-9._-]+", "-", self.run.name).strip("-.")[:100] or "model"


def order(
    flow: Workflow,
    name: str,
    folder: str | Path,
    runtimes: Iterable[str] | str | None,
    soc: str | None,
    samples: int,
    evaluate: bool | None,
    integer_io: bool,
    threads: int | None,
) -> Order:
    """From what `Workflow.deploy` takes.

    Raises:
        InputError, TargetError, FileError: what is wrong with it.
    """
    operation, run = f"flow.deploy({name!r})", flow[name]
    check_has_data(flow, operation)
    wanted = _runtimes(flow.target, runtimes, operation)
    whole(operation, "samples", samples)
    check_threads(operation, threads)
    for option, value in (("integer_io", integer_io), ("evaluate", evaluate)):
        if value is not None or option == "integer_io":
            flag(operation, option, value)
    chosen = default_soc(flow.target) if soc is None else socs.get(soc)
    form = default_form(sim_of(flow, run))
    if integer_io and form != "qdq":
        raise InputError(operation, f"integer_io=True for {run.precision}", "leave it out: it has no integer codes")
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"{operation} to {folder}", str(error), "choose a folder that can be written") from error
    asked = Order(run, folder, wanted, chosen, samples, evaluate, integer_io, threads)
    replaced = [folder / name / asked.stem for name in (device_inputs.INPUTS, device_inputs.EXPECTED)]
    check_ours(replaced, device_inputs.CONTENTS, operation)
    return asked


def _runtimes(target: Target, wanted: Iterable[str] | str | None, operation: str) -> tuple[str, ...]:
    """Names of the runtimes to run the files on; by default all that suit the target."""
    if wanted is None:
        return tuple(name for name in RUNTIMES if RUNTIMES[name].suits(target))
    names = (wanted,) if isinstance(wanted, str) else tuple(wanted)
    if not names:
        raise InputError(operation, "no runtime", f"use some of {', '.join(map(repr, RUNTIMES))}")
    for name in names:
        if name not in RUNTIMES:
            one_of(operation, "runtime", name, RUNTIMES)
    return names


def default_soc(target: Target) -> socs.Soc:
    """The SoC that a target is named after: the first of its architecture in the table."""
    table = socs.socs()
    found = table[table.htp_arch == target.htp_arch].soc.tolist()
    named = [soc for soc in found if soc.startswith("sm8")] or found
    return socs.get(named[0] if named else "sm8650" if target.htp_arch is None else target.name)


def samples(flow: Workflow, count: int) -> list:
    """The first samples of the calibration data, in batches as they come."""
    found, left = [], count
    for batch in islice(iter(flow.batches), count):
        size = _first(batch).shape[0] if _first(batch).dim() else 1
        found.append(batch if size <= left else _cut(batch, left))
        left -= min(size, left)
        if left == 0:
            break
    return found


def _first(batch) -> torch.Tensor:
    while not isinstance(batch, torch.Tensor):
        batch = next(iter(batch.values())) if hasattr(batch, "values") else batch[0]
    return batch


def _cut(batch, count: int):
    if isinstance(batch, torch.Tensor):
        return batch[:count] if batch.dim() else batch
    if hasattr(batch, "items"):
        return {k: _cut(v, count) for k, v in batch.items()}
    return type(batch)(_cut(v, count) for v in batch) if isinstance(batch, tuple | list) else batch
