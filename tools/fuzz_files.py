"""Read thousands of edited files, and kill savers: ``python -m tools.fuzz_files --edits 10000 --kills 200``.

Prints how many files of each kind were read and refused, by kind of edit; what went wrong comes last. The tests do a
few hundred of the same: tests/fuzz/.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pandas as pd
import torch

from tests.fuzz import extension, kills, subjects
from tests.fuzz.subjects import Subject

SHARES = {"simulation": 0.3, "workflow": 0.35, "encodings 1.0.0": 0.08, "encodings 2.0.0": 0.05, "document": 0.22}


def files(subject: Subject, count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Code at every place, then edits at random: ``count`` in all, or more where there are more places."""
    made = 0
    for found in subject.code():
        made += 1
        yield found
    for index in range(count - made):
        yield subject.drawn(random.Random(f"{seed}/{subject.name}/{index}"))


def read(subject: Subject, count: int, seed: int, folder: Path) -> tuple[Counter, list[str]]:
    """(how many by kind of edit and outcome, what went wrong)."""
    found: Counter = Counter()
    wrong = []
    start, slowest = time.monotonic(), 0.0
    for index, (kind, data) in enumerate(files(subject, count, seed)):
        before = time.monotonic()
        said = subjects.outcome(subject, data, folder)
        slowest = max(slowest, time.monotonic() - before)
        fine = said in ("read", "refused")
        found[subject.name, kind, said if fine else "fault"] += 1
        if not fine:
            wrong.append(f"{subject.name}, {kind}, number {index}: {said}")
    seconds = time.monotonic() - start
    print(f"{subject.name}: {found.total():,} files in {seconds:.0f} s, the slowest {slowest:.1f} s", flush=True)
    return found, wrong


def table(found: Counter) -> pd.DataFrame:
    rows = [(*key, count) for key, count in found.items()]
    frame = pd.DataFrame(rows, columns=["file", "edit", "outcome", "count"])
    wide = frame.pivot_table("count", ["file", "edit"], "outcome", "sum", fill_value=0, margins=True)
    return wide.reindex(columns=["read", "refused", "fault", "All"], fill_value=0)


def fuzz(count: int, seed: int, only: str | None, folder: Path) -> bool:
    """Whether nothing went wrong."""
    found: Counter = Counter()
    wrong: list[str] = []
    with ExitStack() as open_now:
        known = subjects.subjects(folder)
        if missing := extension.missing():
            print(f"documents are left out: {missing} is not installed")
        else:
            reader = open_now.enter_context(extension.Reader())
            known.append(extension.documents(reader, of=known[1]))
        for subject in known:
            if only in (None, subject.name.partition(" ")[0]):
                counts, faults = read(subject, round(count * SHARES[subject.name]), seed, folder)
                found, wrong = found + counts, wrong + faults
    print(table(found).to_string())
    print("\n".join(wrong) or "no fault")
    return not wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--edits", type=int, default=0, help="files to read")
    parser.add_argument("--kills", type=int, default=0, help="savers to kill, of simulations and workflows in turn")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=["simulation", "workflow", "encodings", "document"], help="only these files")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    fine = True
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if chosen.edits:
            fine = fuzz(chosen.edits, chosen.seed, chosen.kind, folder)
        if chosen.kills:
            kills.prepare(folder)
            for kind in kills.KINDS:
                times = chosen.kills // len(kills.KINDS)
                found = kills.kill(kind, folder, times, random.Random(chosen.seed))
                print(
                    f"{kind}: {times} savers killed; the file was the old one {found['old']} times, the new one "
                    f"{found['new']} times, and whole each time",
                    flush=True,
                )
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
