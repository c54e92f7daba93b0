"""The worker that solves integer programs, in a process of its own: HiGHS prints lines that should not be shown.

`qnb.process_child` loads this file, not qnb: it imports SciPy alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

IDLE_S = 60.0
"""After so long without a message the process ends."""


class Program:
    """``minimise objective . x`` so that ``equations x = right``, ``row . x <= most``, ``0 <= x <= upper``.

    Args:
        values, rows, columns: of the equations' entries.
        right: their right sides.
        integers: so many first variables are whole; the others follow from them.
    """

    def __init__(
        self, values: np.ndarray, rows: np.ndarray, columns: np.ndarray, right: np.ndarray, size: float, integers: float
    ):
        from scipy.sparse import coo_array

        self.correct_count, self.integers = right, int(integers)
        self.equations = coo_array((values, (rows, columns)), shape=(right.size, int(size))).tocsr()

    def solve(
        self, objective: np.ndarray, upper: np.ndarray, row: np.ndarray | None = None, most: float | None = None
    ) -> dict:
        """``x`` of the integers.

        Raises:
            ValueError: there is none.
        """
        from scipy.optimize import Bounds, LinearConstraint, milp

        constraints = [LinearConstraint(self.equations, self.correct_count, self.correct_count)]
        if row is not None:
            constraints.append(LinearConstraint(row[None], -np.inf, float(most)))
        integrality = np.zeros(objective.size)
        integrality[: self.integers] = 1
        result = milp(
            objective,
            integrality=integrality,
            bounds=Bounds(0, upper),
            constraints=constraints,
            options={"mip_rel_gap": 0.0},
        )
        if result.x is None:
            raise ValueError(result.message)
        return {"x": result.x[: self.integers]}


class Worker:
    """Takes a program, then questions about it."""

    def __init__(self):
        self.idle_s, self.program = IDLE_S, None

    def answer(self, **message: Any) -> dict | None:
        """``x`` for the arguments of `Program.solve`; nothing for those of `Program`."""
        if "right" in message:
            self.program = Program(**message)
            return None
        return self.program.solve(**message)
