"""Documents of a deployment: files, runtimes, how well the simulation predicted them, commands."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from qnb import columns
from qnb.document import Code, Document, Facts, Table, Text
from qnb.html import cell_text
from qnb.text import amount, decibel, metric_text, size
from qnb.workflow.documents.figures import figure
from qnb.workflow.guidance import stages
from qnb.workflow.guidance.next_step import FOLDER, deploy_code

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from qnb.workflow.deployment.result import Deployment, RuntimeResult
    from qnb.workflow.workflow import Workflow

PROMISE = (
    "it writes the files that a device loads, runs them on real runtimes, and compares every layer with what the "
    "simulation predicted: where they agree, what you measured here is what the device computes"
)
FORMS = {
    "sqnr_db": decibel,
    "equal_fraction": "{:.2%}".format,
    "exact_equal_fraction": "{:.2%}".format,
    "top1_agreement": "{:.2%}".format,
    "metric": partial(metric_text, aligned=True),
    "drop": amount,
    "latency_ms": "{:.3g}".format,
}


def table(deployment: Deployment) -> pd.DataFrame:
    """One row per runtime."""
    rows = []
    for found in deployment.runtimes:
        output = found.output
        has = output is not None
        exact = None if found.exact is None else found.exact[found.exact.op == "output"]
        rows.append(
            (
                found.title,
                found.status,
                found.output_sqnr_db,
                float(output.equal_fraction.min()) if has else math.nan,
                math.nan if exact is None else float(exact.equal_fraction.min()),
                float(output.top1_agreement.min()) if has else math.nan,
                found.score.value if found.score else math.nan,
                found.drop.value if found.drop else math.nan,
                found.latency.median_ms if found.latency else math.nan,
                len(found.fallback_nodes) if has else pd.NA,
                found.note,
            )
        )
    return pd.DataFrame(rows, columns=list(columns.DEPLOYMENT)).astype({"fallback_nodes": "Int64"})


def deployment(deployed: Deployment) -> Document:
    """The page of one deployment."""
    found = (Facts(_facts(deployed)), *blocks(deployed), commands(deployed))
    return Document("deployment", title(deployed), found, tone(deployed))


def blocks(deployed: Deployment) -> tuple:
    """What a failure means, files, runtimes with their notes, and where simulation and runtime diverge."""
    found = [*(Text(words, "bad") for words in failure(deployed)), files(deployed), runtimes(deployed)]
    found += [*outputs(deployed), *(Text(note) for note in notes(deployed))]
    return (*found, figure(chart(deployed))) if deployed.completed else tuple(found)


def failure(deployed: Deployment) -> list[str]:
    """Beside the title: what else happened where the deployment fails, what it means, and what to do."""
    titled = deployed.disagreeing.disagreement if deployed.disagreeing else None
    found = [
        f"✗ Also on {r.name} {d.name} disagrees ({d.figures}); {d.begins}."
        for r in deployed.runtimes
        for d in r.differences
        if not d.why and d is not titled
    ]
    if deployed.disagreeing is not None:
        found += [meaning(deployed, deployed.disagreeing), remedy(deployed.disagreeing)]
    for r in deployed.refused:
        found += [
            f"✗ {r.title} refuses the file: {r.note}",
            f"What it means: the files in {deployed.folder} are written, but {r.name} does not run this one, so "
            f"nothing is known of {deployed.run} there.",
            *map(cause, r.known),
        ]
    return found


def meaning(deployed: Deployment, on: RuntimeResult) -> str:
    """What it means that a runtime disagrees."""
    return (
        f"What it means: the files in {deployed.folder} are written, but {on.name} computes something else from "
        f"them than was measured here. Rounding does not explain it, and what the simulation says of "
        f"{deployed.run}, its metric too, does not hold there."
    )


def cause(known: str) -> str:
    """What the target is known to do that may explain a failure, and what to do about it."""
    return f"Known: {known}."


def remedy(on: RuntimeResult) -> str:
    """What to do about a runtime that disagrees."""
    if on.known:
        return f"{' '.join(map(cause, on.known))} Do not ship these files before a deployment agrees."
    layer = on.disagreement.layer if on.disagreement else ""
    wider = f"run it again with more bits at layer {layer!r}, or " if layer else ""
    return (
        f"What to do: {wider}deploy a run at another precision, and see that it agrees. Do not ship these files "
        "before they do."
    )


def commands(deployed: Deployment) -> Code:
    why = f"commands.sh in {deployed.folder}"
    if deployed.disagreeing is not None:
        why += "; these files do not compute what the simulation says"
    elif deployed.refused:
        why += f"; {deployed.refused[0].name} refuses the file"
    return Code(deployed.commands.rstrip(), "On the device", why)


def panel(flow: Workflow, name: str | None) -> Document:
    """The deploy panel as a page: the deployment, or how to make one, and all runs."""
    deployed = flow.deployments.get(name or "")
    runs = (figure(flow.chart()),) if flow.runs else ()
    if deployed is not None:
        page = deployment(deployed)
        return replace(page, blocks=(*page.blocks[:-1], *runs, page.blocks[-1]))
    if name is None:
        return Document("deployment", "Deploy: no run yet", (Text(PROMISE), *runs))
    code = deploy_code(flow.variable, {"run": name, "folder": FOLDER})
    return Document("deployment", f"{name}: not deployed yet", (Code(code, "Next: deploy it", PROMISE), *runs))


def by_layer(deployed: Deployment) -> pd.DataFrame:
    """Layer, op, and the SQNR on each runtime."""
    frames = [r.fidelity.set_index(["layer", "op"]).sqnr_db.rename(r.title) for r in deployed.completed]
    found = pd.concat(frames, axis=1).reset_index() if frames else pd.DataFrame({"layer": [], "op": []})
    return found[found.op != "output"].reset_index(drop=True)  # pyright: ignore[reportReturnType]


def chart(deployed: Deployment) -> go.Figure:
    """SQNR of simulation against runtime, by layer."""
    from qnb import charts

    begins = {r.title: r.disagreement.layer for r in deployed.completed if r.disagreement is not None}
    return charts.fidelity({r.title: r.fidelity for r in deployed.completed}, begins=begins)


def title(deployed: Deployment) -> str:
    """Whether the simulation was right. "Deployed" is said only where all runtimes that were asked for agree."""
    said = "; ".join(f"{stages.agreement(r.output_sqnr_db)} on {r.name}" for r in deployed.completed)
    agrees = f"the simulation agrees {said}" if said else ""
    if deployed.failure:
        besides = f"; {agrees}" if agrees and deployed.disagreeing is None else ""
        return f"✗ {deployed.run} not deployed: {deployed.failure}{besides}"
    missing = [r for r in deployed.runtimes if not r.agrees]
    if missing:
        written = f"! {deployed.run} written, not verified on {_names(missing)} ({missing[0].status})"
        return f"{written}; {agrees}" if agrees else written
    apart = [r for r in deployed.completed if r.fallback_nodes]
    words = f"; not all of it runs on {_names(apart)}" if apart else ""
    return f"{'!' if apart else '✓'} {deployed.run} deployed: {agrees}{words}"


def _names(runtimes) -> str:
    return " and ".join(r.name for r in runtimes)


def tone(deployed: Deployment) -> str:
    return "bad" if deployed.failure else "good" if deployed.simulation_confirmed else "warn"


def outputs(deployed: Deployment) -> list[Table]:
    """Every output on every runtime, where there are several or one differs more than expected."""
    found = [row for r in deployed.completed for row in _outputs(r)]
    if len({output for output, *_ in found}) < 2 and not any(r.differences for r in deployed.completed):
        return []
    frame = pd.DataFrame(found, columns=["output", "runtime", "SQNR", "agrees"])
    return [Table(frame, "Output by output", 40)]


def _outputs(on: RuntimeResult) -> list[tuple[str, str, str, str]]:
    """Those of one runtime, then the layers joined in them that disagree."""
    said = {d.output: f"yes: {d.why}" if d.why else f"no: {d.figures}" for d in on.differences if not d.part}
    rows = [(row.layer, on.name, decibel(row.sqnr_db), said.get(row.layer, "yes")) for row in on.output.itertuples()]  # pyright: ignore[reportAttributeAccessIssue]
    parts = [d for d in on.differences if d.part]
    return rows + [(d.part, on.name, decibel(d.sqnr_db), f"no: {d.figures}") for d in parts]


def files(deployed: Deployment) -> Table:
    frame = deployed.files.assign(size=[size(b) for b in deployed.files.size_bytes])
    return Table(frame[["file", "what", "size"]], f"Files in {deployed.folder}", 12)


def runtimes(deployed: Deployment) -> Table:
    """A column per runtime: their names are long, their figures many."""
    found = deployed.table.drop(columns="note")
    rows = {"": [columns.title(c) for c in found.columns[1:]]}
    for index, name in enumerate(found.runtime):
        rows[name] = [cell_text(found[c].iloc[index], FORMS.get(c)) for c in found.columns[1:]]
    rows[""][1] = "SQNR"  # its unit stands beside the number
    table = pd.DataFrame(rows)
    return Table(table[(table.iloc[:, 1:] != "").any(axis=1)], "Simulation vs runtime, at the outputs", 12)


def notes(deployed: Deployment) -> list[str]:
    """Why a number is missing, or a runtime."""
    return [f"{r.title}: {r.note}" for r in deployed.runtimes if r.note]


def _facts(deployed: Deployment) -> dict[str, str]:
    found = {
        "precision": deployed.precision,
        "target": f"{deployed.target} ({deployed.soc})",
        "FP32 metric": str(deployed.reference),
    }
    for r in deployed.runtimes:
        if r.fallback_nodes:
            named = ", ".join(r.fallback_nodes[:4]) + (", ..." if len(r.fallback_nodes) > 4 else "")
            found[f"not on {r.title}"] = f"{len(r.fallback_nodes)} nodes run on the CPU: {named}"
    return found
