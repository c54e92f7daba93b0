"""What is not asked for is not loaded: a fresh interpreter tells."""

import json
import subprocess
import sys

import pytest

NEVER = (
    "plotly",
    "ipywidgets",
    "anywidget",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "sklearn",
    "IPython",
    "transformers",
    "dask",
    "distributed",
)
"""Not by any public name of the library proper."""


def loaded(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after a statement."""
    code = f"{statement}\nimport json, sys\nprint(json.dumps(sorted({{m.partition('.')[0] for m in sys.modules}})))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    return set(json.loads(run.stdout.splitlines()[-1]))


def test_import_qnb():
    assert not loaded("import qnb").intersection((*NEVER, "torch", "pandas", "numpy", "scipy"))


@pytest.mark.parametrize("names", ["QuantSim", "QuantSim, Workflow", "compare_layers, Score, accuracy, sensitivity"])
def test_public_names(names):
    modules = loaded(f"from qnb import {names}")
    assert "torch" in modules
    assert not modules.intersection(NEVER)


def test_the_check_sees_what_is_loaded():
    assert "sqlite3" in loaded("import sqlite3")
