"""What a deployment says, as documents: files, runtimes, how well the simulation foretold them, commands."""

from __future__ import annotations

import math

import pandas as pd

from qnb import columns
from qnb.document import Code, Document, Facts, Table
from qnb.html import size
from qnb.workflow.layer_documents import figure
from qnb.workflow.verdict import decibel

GOOD_DB = {True: 45.0, False: 25.0}
"""Agreement to expect between simulation and runtime: with 16-bit activations, and with 8-bit ones, whose last
codes may turn either way."""


def table(deployment) -> pd.DataFrame:
    """One row per runtime."""
    rows = []
    for found in deployment.runtimes:
        output = found.output
        has = output is not None
        exact = None if found.exact is None else found.exact[found.exact.op == "output"]
        rows.append((
            found.title, found.state, found.output_sqnr_db,
            float(output.equal_fraction.min()) if has else math.nan,
            math.nan if exact is None else float(exact.equal_fraction.min()),
            float(output.top1_agreement.min()) if has else math.nan,
            found.score.value if found.score else math.nan, found.drop.value if found.drop else math.nan,
            found.latency.median_ms if found.latency else math.nan, len(found.elsewhere) if has else pd.NA, found.note,
        ))  # fmt: skip
    return pd.DataFrame(rows, columns=list(columns.DEPLOYMENT)).astype({"elsewhere": "Int64"})


def deployment(deployed) -> Document:
    """The page of one deployment."""
    ran = [r for r in deployed.runtimes if r.fidelity is not None]
    blocks = [Facts(_facts(deployed)), files(deployed), runtimes(deployed)]
    if ran:
        blocks.append(figure(chart(deployed)))
    blocks.append(Code(deployed.commands, "On the device", f"commands.sh in {deployed.folder}"))
    return Document("deployment", title(deployed), tuple(blocks), tone(deployed))


def chart(deployed):
    """SQNR of simulation against runtime, by layer."""
    from qnb import charts

    return charts.fidelity({r.title: r.fidelity for r in deployed.runtimes if r.fidelity is not None})


def title(deployed) -> str:
    """Did the simulation tell the truth?"""
    ran = [r for r in deployed.runtimes if r.fidelity is not None]
    if not ran:
        return f"{deployed.run}: files written, not run"
    said = ", ".join(f"{decibel(r.output_sqnr_db)} on {r.title.split(' (')[0]}" for r in ran)
    mark = "✓" if tone(deployed) == "good" else "!"
    return f"{mark} {deployed.run} deployed: simulation against runtime {said}"


def tone(deployed) -> str:
    ran = [r for r in deployed.runtimes if r.fidelity is not None]
    wide = "a16" in deployed.precision or deployed.precision in ("fp16", "fp32")
    good = ran and all(r.output_sqnr_db >= GOOD_DB[wide] and not r.elsewhere for r in ran)
    return "good" if good and len(ran) == len(deployed.runtimes) else "warn"


def files(deployed) -> Table:
    frame = deployed.files.assign(size=[size(b) for b in deployed.files.size_bytes])
    return Table(frame[["file", "what", "size"]], f"Files in {deployed.folder}", 12)


def runtimes(deployed) -> Table:
    share = lambda v: "" if math.isnan(v) else f"{v:.2%}"  # noqa: E731
    number = lambda v: "" if math.isnan(v) else f"{v:.4f}"  # noqa: E731
    forms = {
        "sqnr_db": lambda v: "" if math.isnan(v) else decibel(v), "equal_fraction": share,
        "exact_equal_fraction": share, "top1_agreement": share, "metric": number, "drop": number,
        "latency_ms": lambda v: "" if math.isnan(v) else f"{v:.2f}",
        "elsewhere": lambda v: "" if pd.isna(v) else str(v),
    }  # fmt: skip
    return Table(deployed.table, "Simulation against runtime", 6, forms)


def _facts(deployed) -> dict[str, str]:
    found = {"precision": deployed.precision, "target": f"{deployed.target} ({deployed.soc})",
             "FP32 metric": str(deployed.reference)}  # fmt: skip
    for r in deployed.runtimes:
        if r.elsewhere:
            named = ", ".join(r.elsewhere[:4]) + (", ..." if len(r.elsewhere) > 4 else "")
            found[f"not on {r.title}"] = f"{len(r.elsewhere)} nodes run on the CPU: {named}"
    return found
