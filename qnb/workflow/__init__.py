"""Workflow: the steps from FP32 to the lowest precision that passes, with results by name. No user interface."""

from qnb.workflow.run import Run as Run
from qnb.workflow.storage import load as load
from qnb.workflow.workflow import Workflow as Workflow
