"""How near the simulation of a net is to what runtimes compute of its file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pandas as pd
import torch

import qnb
from qnb.graph import capture
from qnb.runtimes import OnnxRuntime, QnnHtp, Runtime
from qnb.runtimes.fidelity import fidelity
from tests.nets import NETS

TARGET, SOC = "htp-v75", "sm8650"
BATCH = {0: torch.export.Dim.AUTO}
"""Other sizes stay as they are: with all of them open, exports take several times as long."""
PRECISIONS = ("w16a16", "w8a16", "w8a8", "w4a8")


@dataclass(frozen=True)
class Figures:
    """Agreement of one net at one precision with one runtime.

    Args:
        layer, op, layer_db: the layer that agrees least, what it is, and its SQNR in dB.
        outputs_db: SQNR by output, those of numbers and flags left out.
        same: share of equal elements by output, of numbers and flags.
    """

    net: str
    precision: str
    runtime: str
    layer: str
    op: str
    layer_db: float
    outputs_db: dict[str, float]
    same: dict[str, float]

    @property
    def least_db(self) -> float:
        return min(self.outputs_db.values())


def figures(net: str, precision: str, folder: Path, htp: type[Runtime] = QnnHtp) -> Iterator[Figures]:
    """On ONNX Runtime, then on HTP: one sample a run."""
    captured, batches = _captured(net)
    sim = qnb.QuantSim(captured, precision=precision, target=TARGET).calibrate(batches)
    path = qnb.export_onnx(sim, folder / f"{net}_{precision}.onnx", batch=1, integer_io=True)
    for runtime in (OnnxRuntime(path, threads=1), htp(path, soc=SOC, threads=1)):
        yield _read(net, precision, runtime.name, fidelity(sim, runtime, batches))


@cache
def _captured(net: str) -> tuple:
    model, batches = NETS[net].built()
    batch = batches[0]
    vary = dict.fromkeys(batch, BATCH) if isinstance(batch, dict) else (BATCH,) * len(batch)
    return capture(model, batch, vary), batches


def _read(net: str, precision: str, runtime: str, table: pd.DataFrame) -> Figures:
    outputs = table[table.op == "output"].set_index("layer")
    whole = outputs.equal_fraction.notna() & outputs.max_steps.isna()
    layers = table[(table.op != "output") & ~(table.equal_fraction.notna() & table.max_steps.isna())]
    worst = layers.loc[layers.sqnr_db.idxmin()]
    return Figures(
        net,
        precision,
        runtime,
        worst.layer,
        worst.op,
        worst.sqnr_db,
        outputs[~whole].sqnr_db.to_dict(),
        outputs[whole].equal_fraction.to_dict(),
    )
