"""The bar in a cell: messages that no notebook keeps; an output, taken back, where nobody draws them."""

from types import SimpleNamespace

import pytest
from nbformat import v4

from qnb.errors import Cancelled
from qnb.workflow.jobs import progress_cell
from qnb.workflow.jobs.progress_cell import MIME, CellBar
from tests.browser.lab import ROOT
from tools.execute_notebooks import KERNEL, SAME_EVERYWHERE

CELL = {"header": {}, "metadata": {"cellId": "a1"}, "content": {"allow_stdin": True}}


class Kernel:
    """Keeps what it sends; ``outputs`` are those that a notebook would hold."""

    iopub_socket = object()

    def __init__(self):
        self.sent, self.outputs = [], {}

    def get_parent(self, channel):
        return CELL

    def send_response(self, stream, kind, content):
        assert stream is self.iopub_socket and content["metadata"] == {}
        output = content["transient"]["display_id"]
        if kind == "display_data" or output in self.outputs:
            self.outputs[output] = content["data"]
        if MIME in content["data"]:
            self.sent.append((kind, content["data"][MIME]))


@pytest.fixture
def kernel(monkeypatch):
    found = Kernel()
    monkeypatch.setattr(progress_cell, "kernel", lambda: found)
    progress_cell._here.clear()
    yield found
    progress_cell._here.clear()
    assert not progress_cell._bars


@pytest.fixture
def now():
    return [0.0]


@pytest.fixture
def bar(kernel, now):
    made = CellBar("flow.run('<w8a8>')", 3, clock=lambda: now[0])
    progress_cell._bars[made.id] = made
    yield made
    made.close()


def answer(data) -> list[str]:
    """What the extension tells, and what became of its comm."""
    done = []
    progress_cell._answered(SimpleNamespace(close=lambda: done.append("closed")), {"content": {"data": data}})
    return done


def test_no_output_is_ever_made_where_the_extension_answers(kernel, bar, now):
    for done in range(8):
        now[0] += 1.0
        bar(done, 8, "evaluating w8a8")
        assert answer({}) == ["closed"]
    bar.close()
    assert kernel.outputs == {} and {kind for kind, _ in kernel.sent} == {"update_display_data"}
    first, *_, last, end = shown = [data for _, data in kernel.sent]
    assert first["answer"] and not last["answer"] and {data["cell"] for data in shown} == {"a1"}
    assert (last["text"], last["percent"], last["left"]) == ("evaluating w8a8 (1 of 3)", 87, "87 %, 1 s left")
    assert {data["state"] for data in shown[:-1]} == {"running"} and end["state"] == "ended"


def test_where_nobody_answers_an_output_stands_in_and_loses_its_data(kernel, bar, now):
    for done in range(8):
        now[0] += 0.5
        bar(done, 8, "evaluating <w8a8>")
        assert bool(kernel.outputs) == (now[0] >= 2.5)
    (page,) = kernel.outputs.values()
    assert "&lt;w8a8&gt;" in page["text/html"] and "<w8a8>" not in page["text/html"]
    assert "Interrupt the kernel to cancel" in page["text/html"] and "87 %" in page["text/plain"]
    bar.close()
    assert list(kernel.outputs.values()) == [{}]


def test_cancel_reaches_the_step_that_it_was_clicked_for(bar):
    bar(0, 8, "evaluating")
    assert answer({"cancel": "another"}) == ["closed"]
    bar(1, 8, "evaluating")
    assert answer({"cancel": bar.id}) == ["closed"]
    with pytest.raises(Cancelled):
        bar(2, 8, "evaluating")
    bar.close()
    assert answer({"cancel": bar.id}) == ["closed"], "a click that comes too late"


def test_a_short_step_sends_nothing(kernel, bar, now):
    now[0] = 0.9
    bar(1, 8, "evaluating")
    bar.close()
    assert kernel.sent == [] and kernel.outputs == {}


STEP = """
%env QNB_PROGRESS=on
import time
from qnb.workflow.jobs.progress import shown
with shown("a step") as report:
    for done in range(15):
        report(done, 15, "working")
        time.sleep(0.1)
"""


@pytest.mark.slow
def test_a_notebook_that_nobody_looks_at_keeps_nothing(monkeypatch, tmp_path):
    from nbclient import NotebookClient

    for name, value in SAME_EVERYWHERE.items():
        monkeypatch.setenv(name, value)
    notebook = v4.new_notebook(cells=[v4.new_code_cell(STEP)], metadata={"kernelspec": KERNEL})
    NotebookClient(notebook, timeout=60, kernel_name=KERNEL["name"]).execute(cwd=str(tmp_path))
    (output,) = notebook.cells[0].outputs
    assert output.text == "env: QNB_PROGRESS=on\n"


def test_the_extension_listens_to_what_is_sent():
    source = (ROOT / "labextension" / "src" / "progress" / "follow.ts").read_text()
    assert f"MIME = '{MIME}'" in source and f"TARGET = '{progress_cell.TARGET}'" in source
