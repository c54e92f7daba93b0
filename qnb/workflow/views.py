"""How a workflow shows: panels with buttons, pages and files. All of it loads on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import plotly.graph_objects as go

    from qnb import panels
    from qnb.workflow.workflow import Workflow


def panel(flow: Workflow) -> panels.WorkflowPanel:
    """The workflow with buttons: stages, runs, progress, next step; without a kernel, the same as a page."""
    from qnb import panels

    return panels.WorkflowPanel(flow)


def explore(flow: Workflow, *runs: str) -> panels.LayerExplorer:
    """Look at the layers of one or two runs: their errors, the distribution of values, what-if.

    Args:
        runs: names; by default the selected run, else the last.
    """
    from qnb import panels

    return panels.LayerExplorer(flow, *runs)


def recovery_panel(flow: Workflow, run: str | None = None) -> panels.RecoveryPanel:
    """`Workflow.recover` with buttons: choose methods, follow the loss, see before and after, keep or discard.

    Args:
        run: the run to start from; by default the selected one, else the first that is not within tolerance.
    """
    from qnb import panels

    return panels.RecoveryPanel(flow, run)


def precision_panel(flow: Workflow, run: str | None = None) -> panels.MixedPrecisionPanel:
    """`Workflow.search_mixed_precision` with buttons: the front, a slider for the budget, bits per layer."""
    from qnb import panels

    return panels.MixedPrecisionPanel(flow, run)


def deploy_panel(flow: Workflow, run: str | None = None) -> panels.DeployPanel:
    """`Workflow.deploy` and `Workflow.measure` with buttons, and their results.

    Args:
        run: a name; by default the smallest run within tolerance, else the selected one.
    """
    from qnb import panels

    return panels.DeployPanel(flow, run)


def chart(flow: Workflow, x: str = "size_bytes") -> go.Figure:
    """Metric against ``x``, a point per run: ``"size_bytes"``, or after `Workflow.measure` ``"file_bytes"`` or
    ``"latency_ms"``."""
    from qnb.workflow.documents.display import summary_chart

    return summary_chart(flow, x)


def report(flow: Workflow, path: str | Path, *, interactive: bool = True) -> None:
    """Write all results as one HTML page that needs no network.

    Args:
        path: the file; it is replaced as a whole.
        interactive: charts to hover and zoom (5 MB of Plotly in the page); else pictures, and no script at all.
    """
    from qnb.workflow.documents import report

    report.write(flow, path, interactive)


def save(flow: Workflow, path: str | Path) -> None:
    """Write all results to one file that `qnb.load` reads; no code, no pickle. The file is replaced as a whole."""
    from qnb.workflow.storage import writing

    writing.save(flow, path)
