"""A real JupyterLab under a real browser, for tests and screenshots."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tools.execute_notebooks import SAME_EVERYWHERE

BROWSER_FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
START_S = 90
QUIET_SETTINGS = {
    "@jupyterlab/apputils-extension/notification.jupyterlab-settings": {
        "checkForUpdates": False,
        "doNotDisturbMode": True,
        "fetchNews": "false",
    },
    "@jupyterlab/docmanager-extension/plugin.jupyterlab-settings": {"autosave": False},
}
"""No pop-up over what is looked at, and nothing saved behind the test's back."""

NOT_OURS = ("Could not restore the debugger state: Canceled future",)
"""Beginnings of what JupyterLab's own parts complain of now and then: its debugger, of a kernel that restarts."""

PANEL = "window.jupyterapp.shell.currentWidget"
IDLE = f"""() => {{
  const session = {PANEL}?.context?.sessionContext;
  return Boolean(session?.isReady && session.session?.kernel?.status === 'idle');
}}"""
RUN_ALL = """() => { window.qnbRan = false;
  window.jupyterapp.commands.execute('notebook:run-all-cells').finally(() => { window.qnbRan = true; }); }"""
RAN = f"() => window.qnbRan && ({IDLE})()"
NEVER_RUN = f"""() => {PANEL}.content.widgets.flatMap((w, index) =>
  w.model.type === 'code' && w.model.sharedModel.source.trim() && w.model.executionCount === null
    ? [index] : [])"""
PLOTLY = "application/vnd.plotly.v1+json"
DRAWN = f"""i => [...{PANEL}.content.widgets[i].node.querySelectorAll('.js-plotly-plot')].filter(p =>
  p.querySelector('.bars path, .points path, .scatterlayer path, .heatmaplayer image, .trace path')).length"""
FAULTS = f"""() => {PANEL}.content.widgets.flatMap((w, index) =>
  (w.model.outputs?.toJSON() ?? []).filter(o => o.output_type === 'error')
    .map(o => `cell ${{index}}: ${{o.ename}}: ${{o.evalue}}`))"""


def chromium() -> str | None:
    """The browser's path; None where there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


@dataclass(frozen=True)
class Server:
    url: str
    token: str


@contextmanager
def serve(folder: Path, private: Path, without: Sequence[str] = ()) -> Iterator[Server]:
    """JupyterLab on a free port, showing ``folder``; its own files go to ``private``.

    Args:
        without: extensions that are switched off.
    """
    _switch_off(private, without)
    port, token = _free_port(), secrets.token_hex(16)
    environment = {**os.environ, **SAME_EVERYWHERE, **_private_folders(private)}
    flags = [
        "--no-browser",
        "--allow-root",
        f"--port={port}",
        "--ServerApp.port_retries=0",
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.token={token}",
        f"--ServerApp.root_dir={folder}",
        "--LabApp.expose_app_in_browser=True",
        "--LabApp.news_url=None",
    ]
    log = private / "server.log"
    with log.open("w") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyter", "lab", *flags],
            cwd=folder,
            env=environment,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = Server(f"http://127.0.0.1:{port}", token)
    try:
        _wait_until_up(server, process, log)
        yield server
    finally:
        process.terminate()  # Jupyter ends its kernels on this signal
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _switch_off(private: Path, extensions: Sequence[str]) -> None:
    folder = private / "config" / "labconfig"
    folder.mkdir(parents=True, exist_ok=True)
    config = {"disabledExtensions": dict.fromkeys(extensions, True)}
    (folder / "page_config.json").write_text(json.dumps(config))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _private_folders(private: Path) -> dict[str, str]:
    folders = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
    }
    for name in folders.values():
        (private / name).mkdir(parents=True, exist_ok=True)
    for name, values in QUIET_SETTINGS.items():
        path = private / "settings" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))
    return {variable: str(private / name) for variable, name in folders.items()}


def _wait_until_up(server: Server, process: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{server.url}/api?token={server.token}", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()[-4000:]}")


@contextmanager
def browse(width: int = 1280, height: int = 900):
    """A page of a new headless browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=BROWSER_FLAGS)
        try:
            yield browser.new_page(viewport={"width": width, "height": height})
        finally:
            browser.close()


@dataclass
class Lab:
    """One notebook in one page."""

    page: object
    server: Server
    console_errors: list[str] = field(default_factory=list)

    def __post_init__(self):
        self.page.on("pageerror", lambda error: self.console_errors.append(str(error)))
        self.page.on("console", self._heard)

    def _heard(self, message) -> None:
        if message.type == "error" and not message.text.startswith(NOT_OURS):
            self.console_errors.append(f"{message.text} ({message.location.get('url', '')})")

    def open(self, notebook: str) -> None:
        """Open a notebook and wait for its kernel."""
        self.page.goto(f"{self.server.url}/lab/tree/{notebook}?token={self.server.token}&reset")
        self.page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
        self.page.wait_for_function(IDLE, timeout=60_000)

    def command(self, name: str, **arguments) -> None:
        self.page.evaluate("([n, a]) => { window.jupyterapp.commands.execute(n, a); }", [name, arguments])

    def kernel(self, code: str) -> str:
        """Run code in the notebook's kernel, in no cell; what it prints.

        Of several tabs, the kernel of the first notebook.
        """
        return self.page.evaluate(
            """async code => {
              const panels = [...window.jupyterapp.shell.widgets('main')];
              const kernel = panels.map(p => p.context?.sessionContext?.session?.kernel).find(Boolean);
              let text = '';
              const future = kernel.requestExecute({ code });
              future.onIOPub = message => { text += message.content.text ?? ''; };
              await future.done;
              return text;
            }""",
            code,
        )

    def run_all(self, timeout_s: float = 240) -> None:
        """Clear every output, run every cell, and wait until the last has finished.

        Raises:
            TimeoutError: after ``timeout_s`` seconds it still runs.
            RuntimeError: a cell was left out although none before it raised.
        """
        self.page.evaluate("() => window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
        self.page.evaluate(RUN_ALL)
        end = time.monotonic() + timeout_s
        while not self.page.evaluate(RAN):
            if time.monotonic() > end:
                raise TimeoutError(f"the notebook still runs after {timeout_s} s")
            self.page.wait_for_timeout(250)
        left = self.page.evaluate(NEVER_RUN)
        if left and not self.faults():
            raise RuntimeError(f"cells {left} have not run")

    def faults(self) -> list[str]:
        """Error outputs, by cell."""
        return self.page.evaluate(FAULTS)

    def theme(self, name: str) -> None:
        """Change to "JupyterLab Light" or "JupyterLab Dark" and wait until it shows."""
        self.command("apputils:change-theme", theme=name)
        self.page.wait_for_selector(f"body[data-jp-theme-name='{name}']", state="attached", timeout=20_000)
        self.page.wait_for_timeout(800)

    def visit(self, cell: int) -> None:
        """Scroll a cell into view, so that Lab draws it (it leaves out what is off screen)."""
        script = f"async i => {{ await {PANEL}.content.scrollToItem(i, 'start'); }}"
        self.page.evaluate(script, cell)
        self.page.wait_for_timeout(300)

    def draw(self, cell: int, timeout_s: float = 20) -> int:
        """Scroll to a cell and wait until Plotly has drawn marks in it; the number of charts that have some."""
        self.visit(cell)
        end = time.monotonic() + timeout_s
        while not (drawn := self.page.evaluate(DRAWN, cell)) and time.monotonic() < end:
            self.page.wait_for_timeout(200)
        return drawn

    def charts(self) -> list[int]:
        """Indices of the cells with a Plotly output."""
        return [cell["index"] for cell in self.cells() if PLOTLY in cell["mimes"]]

    def cells(self) -> list[dict]:
        """For each cell: its index, type, and the MIME types of its outputs."""
        return self.page.evaluate(
            f"""() => {PANEL}.content.widgets.map((w, index) => ({{index, type: w.model.type,
                mimes: (w.model.outputs?.toJSON() ?? []).flatMap(o => Object.keys(o.data ?? {{}}))}}))"""
        )

    def close(self) -> None:
        """Shut the kernel down and leave the page."""
        self.page.evaluate(f"async () => {{ await {PANEL}.context.sessionContext.shutdown(); }}")


def private_copy(notebooks: Path, into: Path) -> Path:
    """A copy of a folder's notebooks that may be run and changed."""
    into.mkdir(parents=True, exist_ok=True)
    for path in sorted(notebooks.glob("*.ipynb")):
        shutil.copy(path, into)
    return into
