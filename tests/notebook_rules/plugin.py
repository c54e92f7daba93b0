"""nbval with the rules that quantization notebooks need, as pytest hooks.

nbval runs the cells. These rules replace its comparison: numbers are compared with a tolerance, and a cell that was
never run fails instead of passing unseen.
"""

from __future__ import annotations

import os
from itertools import islice

import pytest
from nbval.plugin import IPyNbCell, IPyNbFile

from tests.notebook_rules.outputs import compare_outputs

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Sums split among threads depend on how many there are."""
SHOWN = 8


class NotebookCell(IPyNbCell):
    def compare_outputs(self, test, ref, skip_compare=None) -> bool:
        self.comparison_traceback = list(islice(compare_outputs(ref, test), SHOWN))
        return not self.comparison_traceback

    def runtest(self):
        super().runtest()  # first, so that the cells after it find what this one defines
        if self.cell.source.strip() and self.cell.execution_count is None:
            self.raise_cell_error("This cell was never run: run the notebook and store it, or tag it nbval-skip")


class Notebook(IPyNbFile):
    def setup(self):
        os.environ.update(ONE_THREAD)  # the kernel inherits it
        super().setup()

    def collect(self):
        for cell in super().collect():
            yield NotebookCell.from_parent(
                self, name=cell.name, cell_num=cell.cell_num, cell=cell.cell, options=cell.options
            )


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path, parent):
    collected = yield
    return [
        Notebook.from_parent(parent, path=file_path) if type(item) is IPyNbFile else item for item in collected
    ]
