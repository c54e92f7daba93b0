"""Selection: the run and the layers that every panel of a workflow shows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from qnb.arguments import check_options
from qnb.errors import InputError
from qnb.sim import selection
from qnb.workflow.jobs.signal import Signal

if TYPE_CHECKING:
    from qnb.workflow.workflow import Workflow


class Selection:
    """One choice for all panels, readable and settable from code: ``flow.selection.layer = "stem.conv"``.

    ``run`` and ``compared_to`` name runs, ``layers`` layers of ``run``; ``layer`` is the first of these. Setting what
    does not exist is an error that says what does. ``changed`` is a `Signal`.
    """

    def __init__(self, flow: Workflow):
        self._flow = flow
        self._run: str | None = None
        self._compared_to: str | None = None
        self._layers: tuple[str, ...] = ()
        self.changed = Signal()

    @property
    def run(self) -> str | None:
        return self._run

    @run.setter
    def run(self, name: str | None) -> None:
        self.set(run=name)

    @property
    def compared_to(self) -> str | None:
        """A second run to compare with, or None."""
        return self._compared_to

    @compared_to.setter
    def compared_to(self, name: str | None) -> None:
        self.set(compared_to=name)

    @property
    def layer(self) -> str | None:
        return self._layers[0] if self._layers else None

    @layer.setter
    def layer(self, name: str | None) -> None:
        self.set(layers=() if name is None else (name,))

    @property
    def layers(self) -> tuple[str, ...]:
        """All selected layers, the one that is shown first."""
        return self._layers

    @layers.setter
    def layers(self, names: str | Iterable[str]) -> None:
        self.set(layers=names)

    def set(self, **changes: Any) -> None:
        """Change ``run``, ``compared_to`` and ``layers`` together; all or nothing, one signal."""
        check_options("flow.selection.set", changes, ("run", "compared_to", "layers"), "flow.selection.set")
        run, compared_to = changes.get("run", self._run), changes.get("compared_to", self._compared_to)
        for name in (run, compared_to):
            if name is not None:
                self._flow[name]  # noqa: B018  an unknown run is an error here
        layers = changes.get("layers", self._layers)
        if "layers" in changes:
            layers = self._known(run, (layers,) if isinstance(layers, str) else tuple(layers))
        elif run != self._run:  # a layer of the last run may be in this one too
            layers = tuple(layer for layer in layers if layer in self._names(run))
        if (run, compared_to, layers) != (self._run, self._compared_to, self._layers):
            self._run, self._compared_to, self._layers = run, compared_to, layers
            self.changed.emit()

    def _names(self, run: str | None) -> list[str]:
        frame = None if run is None else self._flow[run].comparison
        return [] if frame is None else list(frame.layer)

    def _known(self, run: str | None, layers: tuple[str, ...]) -> tuple[str, ...]:
        if not layers:
            return ()
        names = self._names(run)
        if not names:
            raise InputError(
                "flow.selection",
                f"layer {layers[0]!r} without a run that has layers",
                "select a run first: flow.selection.run = 'w8a8'",
            )
        for layer in layers:
            if layer not in names:
                selection.layers(names, [layer], "flow.selection")
        return tuple(dict.fromkeys(layer for layer in layers if layer in names))

    def __repr__(self) -> str:
        compared_to = f", compared_to={self._compared_to!r}" if self._compared_to else ""
        return f"Selection(run={self._run!r}{compared_to}, layers={list(self._layers)!r})"
