"""What can be done about a cause: as a change to a copy of the simulation, and as the line of code that does it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qnb.sim.quantsim import QuantSim

LEAST_LEFT = 1e-3
"""Share of the noise that a prediction leaves at least: beyond 30 dB it is a guess."""


@dataclass(frozen=True)
class Remedy:
    """A change that may help.

    Args:
        title: what to do, as an order.
        code: the line that does it.
        apply: does it to a calibrated sim, a copy.
        removes: the share of the output's noise that should go, 0 to 1.
        run, recover: arguments of `Workflow.run` or `Workflow.recover` where the code is such a call.
        method: name and options of a recovery method that does the same to a sim, where there is one.
        suffixes: what it does, for the name of the run that it makes; the shortest first.
        judged_on: batches to measure it on, where the usual ones would not show it.
    """

    title: str
    code: str
    apply: Callable[[QuantSim], Any]
    removes: float = 0.0
    run: dict[str, Any] | None = None
    recover: dict[str, Any] | None = None
    method: tuple[str, dict[str, Any]] | None = None
    suffixes: tuple[str, ...] = ()
    judged_on: Iterable | None = field(default=None, compare=False)

    @property
    def predicted_gain_db(self) -> float:
        """What the output's SQNR should gain."""
        return gain_db(self.removes)


def gain_db(removes: float) -> float:
    """The gain in SQNR where a share of the noise goes.

    >>> round(gain_db(0.5), 2), gain_db(0.0)
    (3.01, 0.0)
    """
    return -10 * math.log10(min(1.0, max(LEAST_LEFT, 1 - removes))) + 0.0
