"""Figures of all nets as a table in Markdown: ``python -m tests.nets [net ...]``."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch

from qnb.errors import QnbError
from tests.nets import NETS
from tests.nets.figures import PRECISIONS, figures
from tests.translations import kept

HEAD = (
    "net",
    "precision",
    "runtime",
    "weakest layer",
    "its SQNR in dB",
    "SQNR of outputs in dB, or share that is equal",
)


def main(names: list[str]) -> None:
    torch.set_num_threads(1)
    print(_row(HEAD), _row(["---"] * len(HEAD)), sep="\n")
    with tempfile.TemporaryDirectory() as folder, kept():
        for name in names or NETS:
            for precision in PRECISIONS:
                try:
                    for found in figures(name, precision, Path(folder)):
                        outputs = [f"{output} {db:.1f}" for output, db in found.outputs_db.items()]
                        outputs += [f"{output} {share:.0%}" for output, share in found.same.items()]
                        print(
                            _row(
                                [
                                    name,
                                    precision,
                                    found.runtime,
                                    f"{found.layer} ({found.op})",
                                    f"{found.layer_db:.1f}",
                                    ", ".join(outputs),
                                ]
                            ),
                            flush=True,
                        )
                except QnbError as error:
                    print(_row([name, precision, error.operation, "", "", f"refused: {error.received}"]), flush=True)


def _row(cells) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main(sys.argv[1:])
