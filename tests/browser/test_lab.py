"""The harness itself: it sees a chart, an error, and a script that fails; small notebooks, one server."""

import nbformat
import pytest
from nbformat import v4

from tools.execute_notebooks import KERNEL

BAR = "import plotly.graph_objects as go\ngo.Figure(go.Bar(y=[1, 2, 3]), layout={'margin': {'t': 10}})"
STALE = v4.new_output("stream", name="stdout", text="stale")
NOTEBOOKS = {
    "bar": [v4.new_markdown_cell("# Bar"), v4.new_code_cell(BAR), v4.new_code_cell("print('done')")],
    "empty": [v4.new_code_cell("import plotly.graph_objects as go\ngo.Figure()"), v4.new_code_cell("")],
    "error": [v4.new_code_cell("1 / 0"), v4.new_code_cell("print('never')", outputs=[STALE], execution_count=7)],
}


@pytest.fixture
def opened(lab, notebook_folder, request):
    name = f"harness-{request.param}.ipynb"
    metadata = {"kernelspec": KERNEL}  # without it Lab asks which kernel to start
    nbformat.write(v4.new_notebook(cells=NOTEBOOKS[request.param], metadata=metadata), notebook_folder / name)
    lab.open(name)
    yield lab
    lab.close()


@pytest.mark.browser
@pytest.mark.parametrize("opened", ["bar"], indirect=True)
def test_a_chart_draws_in_both_themes(opened):
    opened.run_all(60)
    assert opened.faults() == [] and opened.charts() == [1]
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        opened.theme(theme)
        assert opened.draw(1) == 1
    assert opened.console_errors == []


@pytest.mark.browser
@pytest.mark.parametrize("opened", ["empty"], indirect=True)
def test_a_chart_without_marks_does_not_count(opened):
    opened.run_all(60)
    assert opened.charts() == [0] and opened.draw(0, timeout_s=2) == 0


@pytest.mark.browser
@pytest.mark.parametrize("opened", ["error"], indirect=True)
def test_errors_are_seen(opened):
    opened.run_all(60)
    assert opened.faults() == ["cell 0: ZeroDivisionError: division by zero"]
    opened.page.evaluate("() => { setTimeout(() => { throw new Error('from a script'); }, 0); }")
    opened.page.evaluate("() => console.error('said so')")
    opened.page.wait_for_timeout(300)
    assert [error.partition(" (")[0] for error in opened.console_errors] == ["said so", "from a script"] or [
        error.partition(" (")[0] for error in opened.console_errors
    ] == ["from a script", "said so"]
