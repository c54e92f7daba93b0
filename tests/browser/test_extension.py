"""The JupyterLab extension, on notebooks and files made here: nothing in them needs qnb's kernel side."""

import io
import json
import zipfile

import nbformat
import pytest

from tests.browser.lab import screenshot
from tests.labextension import documents as docs
from tools.lab import IDLE, PANEL

pytestmark = pytest.mark.browser
ACTIVE = f"() => {PANEL}.content.activeCellIndex"
SOURCE = f"() => {PANEL}.content.activeCell.model.sharedModel.source"
INSERT = """code => !document.dispatchEvent(
  new CustomEvent('qnb:insert-code', {cancelable: true, detail: {code}}))"""


@pytest.fixture
def shown(lab, notebook_folder, request):
    """A notebook with these documents as stored outputs, open and not run."""
    name = f"extension-{request.node.name.partition('[')[0]}.ipynb"
    nbformat.write(docs.notebook(*request.param, filler=3), notebook_folder / name)
    lab.open(name)
    yield lab
    lab.close()


def open_lab(lab, path="") -> None:
    lab.page.goto(f"{lab.server.url}/lab{path}?token={lab.server.token}&reset")
    lab.page.wait_for_selector(".qnb-Dashboard .qnb-Card" if path else ".jp-Launcher-section", timeout=60_000)


def run_command(lab, command: str, folder: str = "") -> None:
    open_lab(lab)
    lab.page.wait_for_function("c => window.jupyterapp.commands.hasCommand(c)", arg=command)
    lab.page.evaluate("([c, cwd]) => window.jupyterapp.commands.execute(c, {cwd})", [command, folder])
    lab.page.wait_for_function(IDLE, timeout=60_000)


def zipped(**members: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name.replace("_", "."), text)
    return buffer.getvalue()


@pytest.mark.parametrize("shown", [(docs.RUN,)], indirect=True)
def test_the_static_form_draws_in_both_themes(shown):
    card = shown.page.locator(".qnb-Output .qnb-Card")
    assert card.locator("caption").text_content() == docs.TABLE["caption"]
    assert "w4a8: worse" in card.locator("[role=heading]").text_content()
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        shown.theme(theme)
        assert shown.draw(1) == 1
        screenshot(shown, f"static-{theme[-5:].strip().lower()}")
    card.get_by_role("button", name="Copy code").click()
    assert shown.console_errors == []


@pytest.mark.parametrize(
    "shown", [({"version": 3, "title": "Later"}, {"version": 2, "blocks": [{"type": "new"}, 7]})], indirect=True
)
def test_what_is_not_known_is_tolerated(shown):
    cards = shown.page.locator(".qnb-Output .qnb-Card")
    assert "Later" in cards.nth(0).text_content() and "newer qnb" in cards.nth(0).text_content()
    assert cards.nth(1).text_content() == "qnb" and shown.console_errors == []


@pytest.mark.parametrize("shown", [(docs.hostile(),)], indirect=True)
def test_markup_in_the_data_stays_text(shown):
    shown.command("qnb:show-sidebar")
    shown.draw(1)
    shown.page.wait_for_selector(".qnb-Sidebar .qnb-Next")
    drawn = ".qnb-Card, .qnb-Sidebar"
    assert shown.page.evaluate("window.hacked") is None
    made = shown.page.locator(drawn).locator("img:not(.plot-img), a[href]:not(.modebar-btn), script")
    assert [node.evaluate("node => node.outerHTML") for node in made.all()] == []
    titles = shown.page.locator(".qnb-Output .gtitle").all_text_contents()
    ticks = shown.page.locator(".qnb-Output .xtick").all_text_contents()
    assert titles == [docs.HOSTILE] and docs.HOSTILE in ticks


@pytest.mark.parametrize("shown", [(docs.SUMMARY, docs.CHECK, docs.RUN)], indirect=True)
def test_the_sidebar_follows_without_running(shown):
    shown.command("qnb:show-sidebar")
    steps = shown.page.locator(".qnb-Sidebar .qnb-Step")
    steps.nth(5).wait_for()
    found = [(s.get_attribute("data-stage"), s.get_attribute("data-status")) for s in steps.all()]
    assert found == [
        ("check", "pass"),
        ("fp16", "pass"),
        ("w16a16", "pass"),
        ("reduce", "unclear"),
        ("restore", "todo"),
        ("deploy", "todo"),
    ]
    assert "MobileDigits" in shown.page.locator(".qnb-Sidebar h2").text_content()
    screenshot(shown, "sidebar")
    shown.page.locator(".qnb-Jump[data-key='run:w4a8']").focus()
    shown.page.keyboard.press("Enter")
    shown.page.wait_for_function(f"() => ({ACTIVE})() === 9")
    assert shown.page.locator(".qnb-Output").get_by_text("w4a8: worse").is_visible()
    shown.page.get_by_role("button", name="Add next step").focus()
    shown.page.keyboard.press("Enter")
    shown.page.wait_for_function(f"() => ({ACTIVE})() === 10")
    assert shown.page.evaluate(SOURCE) == docs.ADVICE["code"] and shown.console_errors == []


@pytest.mark.parametrize("shown", [()], indirect=True)
def test_a_panel_has_code_inserted(shown):
    assert shown.page.evaluate(INSERT, "1 + 1") is True
    assert shown.page.evaluate(ACTIVE) == 1 and shown.page.evaluate(SOURCE) == "1 + 1"
    shown.command("qnb:show-sidebar")
    assert shown.page.locator(".qnb-Sidebar").get_by_text("No results yet").is_visible()


def test_a_new_notebook_from_the_launcher_runs(lab, notebook_folder):
    open_lab(lab)
    assert lab.page.evaluate(INSERT, "no notebook") is False
    cards = lab.page.locator(".jp-Launcher-section").filter(has_text="Quantization").locator(".jp-LauncherCard")
    cards.nth(4).wait_for()
    assert "The quantization workflow" in cards.all_text_contents()
    cards.filter(has_text="vision model").click()
    lab.page.wait_for_function(IDLE, timeout=60_000)
    assert (notebook_folder / "quantize-vision.ipynb").exists()
    lab.run_all(120)
    assert lab.faults() == [] and lab.console_errors == []
    lab.close()


def test_a_new_notebook_never_replaces_one(lab, notebook_folder):
    (notebook_folder / "quantize-own-model.ipynb").write_text("{}")
    run_command(lab, "qnb:new-quantize-own-model")
    assert (notebook_folder / "quantize-own-model.ipynb").read_text() == "{}"
    made = nbformat.read(notebook_folder / "quantize-own-model-1.ipynb", 4)
    assert made.metadata.kernelspec.name == "python3" and "qnb" not in made.metadata
    lab.close()


def test_a_tutorial_is_saved_once_with_those_it_links_to(lab, notebook_folder):
    folder = notebook_folder / "lessons"
    folder.mkdir()
    (folder / "02-bring-your-own-model.ipynb").write_text("mine")
    run_command(lab, "qnb:open-01-quantization-workflow", "lessons")
    assert (folder / "01-quantization-workflow.ipynb").exists()
    assert (folder / "02-bring-your-own-model.ipynb").read_text() == "mine"
    assert lab.page.evaluate(f"() => {PANEL}.context.path") == "lessons/01-quantization-workflow.ipynb"
    lab.close()


def test_a_folder_that_is_gone_is_said(lab):
    open_lab(lab)
    lab.page.wait_for_function("() => window.jupyterapp.commands.hasCommand('qnb:new-quantize-vision')")
    lab.command("qnb:new-quantize-vision", cwd="no-such-folder")
    dialog = lab.page.locator(".jp-Dialog")
    dialog.wait_for()
    assert "could not be opened" in dialog.text_content() and "Choose a folder" in dialog.text_content()


def test_a_qnb_file_opens_as_a_dashboard(lab, notebook_folder):
    found = {**docs.RUN, "stages": docs.STAGES, "title": docs.HOSTILE}
    (notebook_folder / "good.qnb").write_bytes(zipped(document_json=json.dumps(found), workflow_json="{}"))
    open_lab(lab, "/tree/good.qnb")
    card = lab.page.locator(".qnb-Dashboard .qnb-Card")
    assert card.locator(".qnb-Ladder li").count() == 6 and docs.HOSTILE in card.text_content()
    lab.page.wait_for_selector(".qnb-Dashboard .js-plotly-plot .bars path")
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        lab.theme(theme)
        screenshot(lab, f"dashboard-{theme[-5:].strip().lower()}")
    assert lab.page.evaluate("window.hacked") is None and lab.console_errors == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"nonsense", "does not begin like a zip"),
        (b"PK\3\4 cut off", "damaged"),
        (zipped(other_txt="x"), "without document.json"),
        (zipped(workflow_json="{}"), "an older qnb"),
        (zipped(document_json="[1, 2"), "document.json cannot be read"),
        (zipped(document_json=" " * 21_000_000), "larger than 20 MB"),
    ],
    ids=["no-zip", "cut", "other-zip", "older", "no-json", "bomb"],
)
def test_a_file_that_cannot_be_shown_says_what_to_do(lab, notebook_folder, content, said):
    (notebook_folder / "bad.qnb").write_bytes(content)
    open_lab(lab, "/tree/bad.qnb")
    words = lab.page.locator(".qnb-Dashboard [role=alert]").text_content()
    assert said in words and "To fix:" in words and lab.console_errors == []
