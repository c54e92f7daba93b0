"""A file's simulations, which stand on one captured model."""

from __future__ import annotations

import copy

from qnb.graph import Captured
from qnb.sim import QuantSim
from qnb.sim import storage as sims
from qnb.workflow.storage import archive
from qnb.workflow.storage.source import Source


class Simulations:
    """Read one by one, each when it is asked for.

    Args:
        captured: the model that they share; None where the file holds none.
    """

    def __init__(self, reader: archive.Reader, source: Source, captured: Captured | None):
        self.reader, self.source = reader, source
        self._stand_on(captured)

    def _stand_on(self, captured: Captured | None) -> None:
        self.captured, self._shared = captured, None if captured is None else sims.Shared.of(captured)

    def on(self, captured: Captured | None) -> Simulations:
        """The same ones on another capture of the same model."""
        if captured is self.captured:
            return self
        other = copy.copy(self)
        other._stand_on(captured)
        return other

    def sim(self, number: int | None) -> QuantSim | None:
        """A `QuantSim`; None for a run that has none."""
        if number is None:
            return None
        return sims.of(QuantSim, *self._parts(number), self.source.operation, self.source.remedy, self._shared)

    def _parts(self, number: int) -> tuple[dict, sims.Tensors]:
        data = self.reader.tensors(archive.SIM.format(number))
        return sims.read(data, self.source.operation, self.source.remedy)
