"""A process that saves over and over, and is killed at a random moment: the file is the old or the new one, whole."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import qnb
from tests.fuzz import saver, subjects

KINDS = ("simulation", "workflow")


def prepare(folder: Path) -> None:
    """What the savers read before they begin."""
    for name, precisions in {"old": ["w8a8"], "new": ["w8a8", "w4a8"]}.items():
        flow = subjects.make_workflow(folder / f"{name}.qnb", *precisions)
        flow[precisions[-1]].sim.save(folder / f"{name}.sim")


def seen(kind: str, path: Path) -> str:
    """What tells the old from the new."""
    if kind == "simulation":
        return repr(qnb.QuantSim.load(path).encodings().to_dict("list"))
    flow = qnb.load(path)
    sims = [run.sim.encodings().to_dict("list") for run in flow.runs.values() if run.sim is not None]
    return repr((flow.summary().to_dict("list"), sims))


def kill(kind: str, folder: Path, times: int, chance: random.Random, save=saver.save_on) -> Counter:
    """Kill a saver so many times; returns how often the file was ``"old"`` and how often ``"new"``.

    Raises:
        FileError: a file that cannot be read.
        KeyError: one that is neither of the two.
    """
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([saver.__name__])
    ending = "sim" if kind == "simulation" else "qnb"
    known = {seen(kind, folder / f"{name}.{ending}"): name for name in ("old", "new")}
    found: Counter = Counter()
    seconds = saver.seconds(kind, folder)
    for _ in range(times):
        begun = processes.Event()
        process = processes.Process(target=save, args=(kind, folder, begun), daemon=True)
        process.start()
        try:
            assert begun.wait(120), "the saver did not begin"
            time.sleep(chance.uniform(0, 2.5 * seconds))  # the next saving, the one after it, and between
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.join()
        found[known[seen(kind, folder / saver.FILE)]] += 1
    for left in folder.glob(f".{saver.FILE}.*"):  # of those that were killed while they wrote
        left.unlink()
    return found
