"""Selection: the run and the layers that every panel of a workflow shows."""

from __future__ import annotations

from collections.abc import Iterable

from qnb.errors import InputError
from qnb.sim import selection
from qnb.workflow.jobs.signal import Signal


class Selection:
    """One choice for all panels, readable and settable from code: ``flow.selection.layer = "stem.conv"``.

    ``run`` and ``against`` name runs, ``layers`` layers of ``run``; ``layer`` is the first of these. Setting what
    does not exist is an error that says what does. ``changed`` is a `Signal`.
    """

    def __init__(self, flow):
        self._flow = flow
        self._run: str | None = None
        self._against: str | None = None
        self._layers: tuple[str, ...] = ()
        self.changed = Signal()

    @property
    def run(self) -> str | None:
        return self._run

    @run.setter
    def run(self, name: str | None) -> None:
        self.set(run=name)

    @property
    def against(self) -> str | None:
        """A second run to compare with, or None."""
        return self._against

    @against.setter
    def against(self, name: str | None) -> None:
        self.set(against=name)

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

    def set(self, **changes) -> None:
        """Change ``run``, ``against`` and ``layers`` together; all or nothing, one signal."""
        run, against = changes.get("run", self._run), changes.get("against", self._against)
        for name in (run, against):
            if name is not None:
                self._flow[name]  # noqa: B018  an unknown run is an error here
        layers = changes.get("layers", self._layers)
        if "layers" in changes:
            layers = self._known(run, (layers,) if isinstance(layers, str) else tuple(layers))
        elif run != self._run:  # a layer of the last run may be in this one too
            layers = tuple(layer for layer in layers if layer in self._names(run))
        if (run, against, layers) != (self._run, self._against, self._layers):
            self._run, self._against, self._layers = run, against, layers
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
        against = f", against={self._against!r}" if self._against else ""
        return f"Selection(run={self._run!r}{against}, layers={list(self._layers)!r})"
