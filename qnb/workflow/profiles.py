"""The values in a run's layers: read when somebody looks, kept until the run is replaced."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from qnb.arguments import short
from qnb.errors import InputError
from qnb.measures import LayerProfile
from qnb.measures.layers.profile import profile_layers
from qnb.progress import Report
from qnb.sim import selection
from qnb.workflow.documents.display import LayerView
from qnb.workflow.jobs.progress import shown
from qnb.workflow.jobs.stage_progress import Ticks
from qnb.workflow.measured_run import comparison_batches
from qnb.workflow.results import check_simulated
from qnb.workflow.run import Run

if TYPE_CHECKING:
    from qnb.workflow.workflow import Workflow

OPERATION = "look at layers"


class Profiles:
    """Profiles of runs that were read. Whoever asks for one that is being read waits for it."""

    def __init__(self):
        self.lock = threading.Lock()
        self._read: dict[str, tuple[Run, dict[str, LayerProfile]]] = {}

    def of(self, run: Run) -> dict[str, LayerProfile] | None:
        """Layer to profile; None where they were not read yet."""
        known = self._read.get(run.name)
        return known[1] if known is not None and known[0] is run else None

    def add(self, run: Run, found: dict[str, LayerProfile]) -> None:
        self._read = self._read | {run.name: (run, found)}


def profile(flow: Workflow, run: str, progress: Report | None = None) -> dict[str, LayerProfile]:
    """Every layer's values in one run, layer to `qnb.measures.LayerProfile`; kept until the run is replaced.

    Args:
        run: its name.
        progress: ``progress(done, total, message)``, as for `Workflow.run`.
    """
    found = flow.profiles.of(flow[run])
    if found is None:
        with flow.profiles.lock:
            found = flow.profiles.of(flow[run])
            if found is None:
                found = _read(flow, run, progress)
                flow.profiles.add(flow[run], found)
    return found


def layer(flow: Workflow, run: str, layer: str) -> LayerView:
    """One layer of one run: values of FP32 and QuantSim, clipped share, weight range per channel."""
    layer = _one_layer(flow[run], layer)
    found = flow.profiles.of(flow[run]) or _read(flow, run, None, [layer])
    return LayerView(run, flow[run].comparison.set_index("layer", drop=False).loc[layer], found[layer])


def _one_layer(run: Run, layer: str) -> str:
    """The layer of a run that a name or a glob means."""
    if run.sim is None:
        raise InputError(OPERATION, f"run {run.name!r}, which has no simulation", "name another run")
    found = sorted(selection.layers((group.layer for group in run.sim.groups), layer, "look at a layer"))
    if len(found) != 1:
        received = f"{short(layer)}, which {len(found)} layers match"
        raise InputError("look at a layer", received, f"name one: {found[0]!r}")
    return found[0]


def _read(flow: Workflow, name: str, progress: Report | None, layers: list[str] | None = None) -> dict:
    """Layers' values (of all by default), from the batches that layers are compared on."""
    run, title = check_simulated(flow, name, OPERATION), f"reading the layers of {name}"
    with shown(title, progress, 1) as report:
        ticks = Ticks(report, title)
        try:
            return profile_layers(run.sim, comparison_batches(flow), layers, progress=ticks.progress, watch=ticks.watch)
        finally:
            run.sim.drop_cache()
