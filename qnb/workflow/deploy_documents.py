"""What a deployment says, as documents: files, runtimes, how well the simulation foretold them, commands."""

from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd

from qnb import columns
from qnb.document import Code, Document, Facts, Table, Text
from qnb.html import cell_text, decibel, size
from qnb.workflow import ladder
from qnb.workflow.advice import FOLDER, deploy_code
from qnb.workflow.layer_documents import figure
from qnb.workflow.verdict import amount

PROMISE = (
    "it writes the files that a device loads, runs them on real runtimes, and compares every layer with what the "
    "simulation foretold: what you measured here is then what the device will compute"
)
FORMS = {
    "sqnr_db": decibel, "equal_fraction": "{:.2%}".format,
    "exact_equal_fraction": "{:.2%}".format, "top1_agreement": "{:.2%}".format, "metric": "{:.4f}".format,
    "drop": amount, "latency_ms": "{:.3g}".format,
}  # fmt: skip

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
    found = (Facts(_facts(deployed)), *blocks(deployed), commands(deployed))
    return Document("deployment", title(deployed), found, tone(deployed))


def blocks(deployed) -> tuple:
    """Files, runtimes with their notes, and where simulation and runtime part."""
    found = [files(deployed), runtimes(deployed), *(Text(note) for note in notes(deployed))]
    return (*found, figure(chart(deployed))) if deployed.ran else tuple(found)


def commands(deployed) -> Code:
    return Code(deployed.commands.rstrip(), "On the device", f"commands.sh in {deployed.folder}")


def panel(flow, name: str | None) -> Document:
    """The deploy panel on paper: the deployment, or how to make one, and all runs."""
    deployed = flow.deployments.get(name)
    runs = (figure(flow.chart()),) if flow.runs else ()
    if deployed is not None:
        page = deployment(deployed)
        return replace(page, blocks=(*page.blocks[:-1], *runs, page.blocks[-1]))
    if name is None:
        return Document("deployment", "Deploy: no run yet", (Text(PROMISE), *runs))
    code = deploy_code(flow.variable, {"name": name, "folder": FOLDER})
    return Document("deployment", f"{name}: not deployed yet", (Code(code, "Next: deploy it", PROMISE), *runs))


def by_layer(deployed) -> pd.DataFrame:
    """Layer, op, and the SQNR on each runtime."""
    frames = [r.fidelity.set_index(["layer", "op"]).sqnr_db.rename(r.title) for r in deployed.ran]
    found = pd.concat(frames, axis=1).reset_index() if frames else pd.DataFrame({"layer": [], "op": []})
    return found[found.op != "output"].reset_index(drop=True)


def chart(deployed):
    """SQNR of simulation against runtime, by layer."""
    from qnb import charts

    return charts.fidelity({r.title: r.fidelity for r in deployed.ran})


def title(deployed) -> str:
    """Did the simulation tell the truth?"""
    if not deployed.ran:
        return f"! {deployed.run}: files written, run nowhere"
    said = "; ".join(f"{ladder.agreement(r.output_sqnr_db)} on {r.title.split(' (')[0]}" for r in deployed.ran)
    return f"{'✓' if deployed.told else '!'} {deployed.run} deployed: the simulation agrees {said}"


def tone(deployed) -> str:
    return "good" if deployed.told else "warn"


def files(deployed) -> Table:
    frame = deployed.files.assign(size=[size(b) for b in deployed.files.size_bytes])
    return Table(frame[["file", "what", "size"]], f"Files in {deployed.folder}", 12)


def runtimes(deployed) -> Table:
    """A column per runtime: their names are long, their figures many."""
    found = deployed.table.drop(columns="note")
    rows = {"": [columns.title(c) for c in found.columns[1:]]}
    for index, name in enumerate(found.runtime):
        rows[name] = [cell_text(found[c].iloc[index], FORMS.get(c)) for c in found.columns[1:]]
    rows[""][1] = "SQNR"  # its unit stands beside the number
    table = pd.DataFrame(rows)
    return Table(table[(table.iloc[:, 1:] != "").any(axis=1)], "Simulation against runtime, at the outputs", 12)


def notes(deployed) -> list[str]:
    """Why a number is missing, or a runtime."""
    return [f"{r.title}: {r.note}" for r in deployed.runtimes if r.note]


def _facts(deployed) -> dict[str, str]:
    found = {"precision": deployed.precision, "target": f"{deployed.target} ({deployed.soc})",
             "FP32 metric": str(deployed.reference)}  # fmt: skip
    for r in deployed.runtimes:
        if r.elsewhere:
            named = ", ".join(r.elsewhere[:4]) + (", ..." if len(r.elsewhere) > 4 else "")
            found[f"not on {r.title}"] = f"{len(r.elsewhere)} nodes run on the CPU: {named}"
    return found
