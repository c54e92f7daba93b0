"""The process that solves integer programs: HiGHS prints lines of its own, and this process has nobody to show them to.

It is started as a file, not as a module of qnb, so that it loads SciPy alone. Messages come on standard input and
answers go out where standard output was: eight bytes of length, then arrays as NumPy's npz, never pickled.
"""

from __future__ import annotations

import io
import os
import queue
import signal
import sys
import threading

import numpy as np

IDLE_S = 60.0
"""After so long without a message it ends."""


def pack(**arrays) -> bytes:
    """A message of arrays by name.

    >>> unpack(io.BytesIO(pack(x=[1.0, 2.0])))["x"].tolist()
    [1.0, 2.0]
    """
    file = io.BytesIO()
    np.savez(file, **arrays)
    return len(file.getvalue()).to_bytes(8, "little") + file.getvalue()


def unpack(stream) -> dict[str, np.ndarray] | None:
    """The next message; None where there will be none."""
    head = stream.read(8)
    size = int.from_bytes(head, "little")
    body = stream.read(size) if len(head) == 8 else b""
    if len(head) < 8 or len(body) < size:
        return None
    with np.load(io.BytesIO(body), allow_pickle=False) as found:
        return dict(found)


class Program:
    """``minimise objective . x`` so that ``equations x = right``, ``row . x <= most``, ``0 <= x <= upper``.

    Args:
        values, rows, columns: of the equations' entries.
        right: their right sides.
        integers: so many first variables are whole; the others follow from them.
    """

    def __init__(self, values, rows, columns, right, size, integers):
        from scipy.sparse import coo_array

        self.right, self.integers = right, int(integers)
        self.equations = coo_array((values, (rows, columns)), shape=(right.size, int(size))).tocsr()

    def solve(self, objective, upper, row=None, most=None) -> dict:
        """``x`` of the integers, or why there is none."""
        from scipy.optimize import Bounds, LinearConstraint, milp

        constraints = [LinearConstraint(self.equations, self.right, self.right)]
        if row is not None:
            constraints.append(LinearConstraint(row[None], -np.inf, float(most)))
        integrality = np.zeros(objective.size)
        integrality[: self.integers] = 1
        result = milp(objective, integrality=integrality, bounds=Bounds(0, upper), constraints=constraints,
                      options={"mip_rel_gap": 0.0})  # fmt: skip
        return {"error": result.message} if result.x is None else {"x": result.x[: self.integers]}


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a notebook's interrupt goes to all processes that it has started
    answers = os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    messages: queue.SimpleQueue = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(messages,), daemon=True).start()
    program = None
    while True:
        try:
            message = messages.get(timeout=IDLE_S)
        except queue.Empty:
            return
        if "right" in message:
            program = Program(**message)
            continue
        try:
            answer = program.solve(**message)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(pack(**answer))
        answers.flush()


def _listen(messages: queue.SimpleQueue) -> None:
    """Whoever asks may end while a program is being solved; then nobody waits for the answer."""
    while (message := unpack(sys.stdin.buffer)) is not None:
        messages.put(message)
    os._exit(0)


if __name__ == "__main__":
    main()
