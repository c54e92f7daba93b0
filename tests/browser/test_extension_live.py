"""The live view: a widget takes the static form's place while its kernel has it, and gives it back."""

import nbformat
import pytest
from nbformat import v4

from tests.labextension.documents import MIME
from tools.execute_notebooks import KERNEL

pytestmark = pytest.mark.browser
NAME = "extension-live.ipynb"
SHOW = f"""import ipywidgets
from IPython.display import display
button = ipywidgets.Button(description="live")
button.on_click(lambda b: setattr(b, "description", "clicked"))
widget = button._repr_mimebundle_()
display({{**widget, "{MIME}": {{"version": 1, "kind": "run", "title": "stored form"}}}}, raw=True)"""
LIVE = ".qnb-Output .jupyter-button"
STATIC = ".qnb-Output .qnb-Card"


@pytest.fixture
def ran(lab, notebook_folder):
    made = v4.new_notebook(cells=[v4.new_code_cell(SHOW)], metadata={"kernelspec": KERNEL})
    nbformat.write(made, notebook_folder / NAME)
    lab.open(NAME)
    lab.run_all(60)
    yield lab
    lab.close()


def test_a_widget_replaces_the_static_form_until_the_kernel_restarts(ran):
    ran.page.locator(LIVE).click()
    ran.page.locator(LIVE).get_by_text("clicked").wait_for()
    assert not ran.page.locator(STATIC).is_visible()
    ran.page.evaluate("() => window.jupyterapp.shell.currentWidget.context.sessionContext.restartKernel()")
    ran.page.locator(STATIC).wait_for(state="visible")
    assert not ran.page.locator(LIVE).is_visible()
    ran.run_all(60)
    ran.page.locator(LIVE).wait_for(state="visible")
    assert ran.console_errors == []


def test_reopened_it_is_live_while_the_kernel_runs_and_static_after(ran):
    ran.page.locator(LIVE).wait_for(state="visible")
    ran.page.evaluate("() => window.jupyterapp.shell.currentWidget.context.save()")
    ran.open(NAME)
    ran.page.locator(LIVE).wait_for(state="visible")
    ran.close()
    ran.open(NAME)
    ran.page.locator(STATIC).get_by_text("stored form").wait_for()
    ran.page.wait_for_timeout(1000)
    assert ran.page.locator(STATIC).is_visible()
    # JupyterLab itself complains that a reload cut its debugger off.
    assert [error for error in ran.console_errors if "debugger state" not in error] == []


def test_settings_switch_the_live_view_and_the_sidebar_off(ran):
    change = "([k, v]) => window.jupyterapp.serviceManager.settings.save('qnb:plugin', v)"
    try:
        ran.page.evaluate(change, ["", '{"liveView": false, "sidebar": "off"}'])
        ran.open(NAME)
        ran.run_all(60)
        ran.page.wait_for_timeout(1000)
        assert ran.page.locator(STATIC).is_visible() and not ran.page.locator(LIVE).is_visible()
        assert ran.page.locator("#qnb-sidebar").count() == 0
        ran.page.evaluate(change, ["", '{"sidebar": "left"}'])
        ran.open(NAME)
        ran.command("qnb:show-sidebar")
        ran.page.locator("#jp-left-stack #qnb-sidebar").wait_for()
    finally:
        ran.page.evaluate(change, ["", "{}"])
