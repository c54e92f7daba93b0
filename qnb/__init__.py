"""qnb: the quantization workbench for Jupyter.

Public names load on first use, so that ``import qnb`` costs almost nothing.
"""

from __future__ import annotations

import importlib

__version__ = "0.1.0"

_WHERE = {
    "Grid": "qnb.numerics",
    "FloatGrid": "qnb.numerics",
    "Precision": "qnb.numerics",
    "inputs": "qnb.graph",
    "QuantSim": "qnb.sim",
    "compare_layers": "qnb.measures",
    "attribute": "qnb.measures",
    "calibration_curve": "qnb.measures",
    "export_encodings": "qnb.export",
    "export_onnx": "qnb.export",
    "fidelity": "qnb.runtimes",
    "sensitivity": "qnb.measures",
    "Score": "qnb.measures",
    "accuracy": "qnb.measures",
    "cross_entropy": "qnb.measures",
    "perplexity": "qnb.measures",
    "sequence_errors": "qnb.measures",
    "Workflow": "qnb.workflow",
    "load": "qnb.workflow",
}
_MODULES = ("charts", "demo", "errors", "methods", "panels", "runtimes", "targets")

__all__ = ["__version__", *_WHERE, *_MODULES]


def __getattr__(name: str):
    if name in _MODULES:
        return importlib.import_module(f"qnb.{name}")
    if name in _WHERE:
        value = getattr(importlib.import_module(_WHERE[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'qnb' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    """Where JupyterLab finds the extension of a checkout, for ``jupyter labextension develop``."""
    return [{"src": "../build/labextension", "dest": "qnb"}]
