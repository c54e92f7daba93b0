"""nbval with the rules that quantization notebooks need, as pytest hooks.

nbval runs the cells. These rules replace its comparison: numbers are compared with a tolerance, and a cell
that was never run fails instead of passing unseen.
"""

from __future__ import annotations

import os
from itertools import islice

import pytest
from nbval.plugin import IPyNbCell, IPyNbFile

from tests.notebook_rules.outputs import compare_outputs
from tests.notebook_rules.stored import can_show, never_run, stored_faults
from tools.execute_notebooks import SAME_EVERYWHERE

SHOWN = 8


class NotebookCell(IPyNbCell):
    def compare_outputs(self, test, ref, skip_compare=None) -> bool:
        if not can_show(self.cell):
            return True
        self.comparison_traceback = list(islice(compare_outputs(ref, test), SHOWN))
        return not self.comparison_traceback

    def runtest(self):
        super().runtest()  # first, so that the cells after it find what this one defines
        if never_run(self.cell):
            self.raise_cell_error("This cell was never run: `make notebooks`, or tag it nbval-skip")


class StoredNotebook(pytest.Item):
    """The file itself, apart from what its cells do."""

    def runtest(self):
        faults = list(stored_faults(self.parent.nb, self.path.stat().st_size))
        assert not faults, "; ".join(faults)

    def repr_failure(self, excinfo):
        return str(excinfo.value).splitlines()[0]

    def reportinfo(self):
        return self.path, 0, f"{self.path.name}::as stored"


class Notebook(IPyNbFile):
    def setup(self):
        os.environ.update(SAME_EVERYWHERE)  # the kernel inherits it, as it did when the notebook was stored
        super().setup()

    def collect(self):
        cells = [
            NotebookCell.from_parent(self, name=cell.name, cell_num=cell.cell_num, cell=cell.cell, options=cell.options)
            for cell in super().collect()
        ]
        yield StoredNotebook.from_parent(self, name="as stored")
        yield from cells


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path, parent):
    collected = yield
    return [Notebook.from_parent(parent, path=file_path) if type(c) is IPyNbFile else c for c in collected]
