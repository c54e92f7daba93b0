"""Panels: a workflow with buttons. They draw what it holds and call its methods; plain ipywidgets, no arithmetic."""

from qnb.panels.base import Panel as Panel
from qnb.panels.deploy_panel import DeployPanel as DeployPanel
from qnb.panels.explorer import LayerExplorer as LayerExplorer
from qnb.panels.precision_panel import MixedPrecisionPanel as MixedPrecisionPanel
from qnb.panels.recovery_panel import RecoveryPanel as RecoveryPanel
from qnb.panels.workflow_panel import WorkflowPanel as WorkflowPanel
