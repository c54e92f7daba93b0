"""The doctor's checks: a new one is one new function under `CHECKS.register`."""

from __future__ import annotations

import functools
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from qnb import __version__
from qnb.cli.surroundings import Surroundings, release, same
from qnb.registry import Registry

OK, WARN, FAIL = "ok", "warn", "fail"
PACKAGES = ("torch", "numpy", "pandas", "plotly", "ipywidgets", "anywidget", "jupyterlab", "onnx", "onnxruntime")
PYTHON = (3, 11)
EXTENSION = "qnb"
GLIBC = release("2.35")
HAS = "import importlib.util as u, json; print(json.dumps([n for n in ('qnb', 'ipywidgets') if not u.find_spec(n)]))"
"""Asked of another interpreter: which of the two it lacks."""
INSTALL_QNN = "pip install 'qnb[qnn]'"


@dataclass(frozen=True)
class CheckResult:
    """What a check found: ``status`` is ok, warn or fail; ``remedy`` is empty where nothing is to do."""

    name: str
    status: str
    found: str
    remedy: str = ""


Check = Callable[[Surroundings], CheckResult]
CHECKS: Registry[Check] = Registry("check")
"""By name, in the order in which they are shown."""


@CHECKS.register("Python")
def python(here: Surroundings) -> CheckResult:
    found = f"{'.'.join(map(str, here.python))} ({here.executable})"
    if here.python >= PYTHON:
        return CheckResult("Python", OK, found)
    return CheckResult("Python", FAIL, found, f"install qnb into Python {'.'.join(map(str, PYTHON))} or newer")


@CHECKS.register("qnb")
def qnb(here: Surroundings) -> CheckResult:
    version, install = here.version("qnb"), f"{here.executable} -m pip install"
    if version is None:
        return CheckResult("qnb", WARN, f"{__version__}, not installed: it runs from its folder", f"{install} -e .")
    if version != __version__:
        return CheckResult(
            "qnb", WARN, f"{__version__}, but installed as {version}", f"{install} --force-reinstall qnb"
        )
    return CheckResult("qnb", OK, version)


def package(name: str, here: Surroundings) -> CheckResult:
    """Whether a package is there, and new enough."""
    version, bound = here.version(name), here.bounds().get(name)
    wanted = f"{name}>={bound}" if bound else name
    remedy = f"{here.executable} -m pip install '{wanted}'"
    if version is None:
        return CheckResult(name, FAIL, "not installed", remedy)
    if bound and release(version) < release(bound):
        return CheckResult(name, FAIL, f"{version}, older than {bound}", remedy)
    return CheckResult(name, OK, version)


for _name in PACKAGES:
    CHECKS.add(_name, functools.partial(package, _name))


@CHECKS.register("extension")
def extension(here: Surroundings) -> CheckResult:
    """The extension belongs where JupyterLab runs, which need not be where the kernel runs."""
    name, python = "extension in JupyterLab", here.server_python
    version, off = _extension(here, here.server), _disabled(here, here.server)
    if version is None:
        return CheckResult(name, FAIL, f"not in {here.server}", f"{python} -m pip install qnb")
    if off:
        remedy = f"{python} -m jupyter labextension enable {off}"
        return CheckResult(name, FAIL, f"{version}, disabled ({off}) in {here.server}", remedy)
    if release(version) != release(__version__):
        remedy = f"{python} -m pip install --upgrade qnb, then reload the page"
        return CheckResult(name, WARN, f"{version}, while qnb is {__version__}", remedy)
    return CheckResult(name, OK, f"{version}, enabled in {here.server}")


@CHECKS.register("extension here")
def extension_here(here: Surroundings) -> CheckResult:
    name = "extension here"
    if same(here.server, here.prefix):
        return CheckResult(name, OK, "JupyterLab runs in this environment")
    version = _extension(here, here.prefix)
    if version is None or _disabled(here, here.prefix):
        said = "not installed" if version is None else f"{version}, disabled"
        remedy = f"needed only to start JupyterLab from {here.prefix}: {here.executable} -m pip install qnb"
        return CheckResult(name, WARN, f"{said}; `jupyter` is that of {here.server}", remedy)
    return CheckResult(name, OK, f"{version}; `jupyter` is that of {here.server}")


def _extension(here: Surroundings, prefix: Path) -> str | None:
    """The version of the extension that JupyterLab loads; None where there is none."""
    for folder in here.folders("data", prefix):
        path = folder / "labextensions" / EXTENSION / "package.json"
        if path.is_file():
            return str(json.loads(path.read_text(encoding="utf-8")).get("version", "unknown version"))
    return None


def _disabled(here: Surroundings, prefix: Path) -> str:
    """What of the extension is disabled (itself, or a plugin of it); empty where nothing is."""
    found: dict[str, bool] = {}
    places = [f / "labconfig" / "page_config.json" for f in here.folders("config", prefix)]
    for path in [*places, prefix / "share" / "jupyter" / "lab" / "settings" / "page_config.json"]:
        if path.is_file():
            said = json.loads(path.read_text(encoding="utf-8")).get("disabledExtensions") or {}
            said = said if isinstance(said, dict) else dict.fromkeys(said, True)
            found = {**said, **found}  # the first file counts most
    return next((n for n, off in found.items() if off and n.partition(":")[0] == EXTENSION), "")


@CHECKS.register("kernel")
def kernel(here: Surroundings) -> CheckResult:
    """Whether a notebook's `python3` kernel is an interpreter that can run qnb."""
    name = "kernel python3"
    folder = next((f for f in here.folders("data", here.server) if (f / "kernels/python3/kernel.json").is_file()), None)
    if folder is None:
        remedy = f"{here.server_python} -m pip install ipykernel"
        return CheckResult(name, FAIL, f"no kernelspec for JupyterLab in {here.server}", remedy)
    spec = json.loads((folder / "kernels/python3/kernel.json").read_text(encoding="utf-8"))
    said = str(spec["argv"][0])
    # Jupyter takes a bare name for the interpreter that itself runs in.
    command = said if os.path.dirname(said) else here.server_python
    if _one_interpreter(command, here.executable):
        return CheckResult(name, OK, f"this interpreter ({said})")
    remedy = f"{here.executable} -m ipykernel install --user --name qnb, then choose the kernel qnb in the notebook"
    if shutil.which(command) is None:
        return CheckResult(name, FAIL, f"{command}, which does not exist", remedy)
    missing = json.loads(here.run([command, "-c", HAS]))
    if missing:
        return CheckResult(name, FAIL, f"{command}, which has no {' and no '.join(missing)}", remedy)
    return CheckResult(name, WARN, f"{command}: another interpreter, which has qnb", f"to use this one: {remedy}")


def _one_interpreter(a: str, b: str) -> bool:
    """Two names of one interpreter: in one folder of an environment, leading to one file.

    A link alone says nothing: environments of one Python all lead to it.
    """
    return same(os.path.dirname(a), os.path.dirname(b)) and same(a, b)


@CHECKS.register("threads")
def threads(here: Surroundings) -> CheckResult:
    count, name = here.torch["threads"], "torch threads"
    found = f"{count} for {here.cores} CPU core{'s' * (here.cores != 1)}"
    if count > here.cores:
        return CheckResult(
            name, WARN, found, f"set OMP_NUM_THREADS={here.cores}: more threads only wait for each other"
        )
    if 2 * count < here.cores:  # half of them is torch's choice where a core runs two threads
        return CheckResult(name, WARN, found, f"unset OMP_NUM_THREADS, or call torch.set_num_threads({here.cores})")
    return CheckResult(name, OK, found)


@CHECKS.register("CUDA")
def cuda(here: Surroundings) -> CheckResult:
    return CheckResult("CUDA", OK, here.torch["gpu"] or "not available (not needed)")


@CHECKS.register("HTP emulator")
def emulator(here: Surroundings) -> CheckResult:
    """Optional, so its absence is no fault."""
    name, x86 = "HTP emulator", here.machine.lower() in ("x86_64", "amd64")
    libc, number = here.libc
    linux = here.system == "Linux" and x86 and libc == "glibc" and release(number) >= GLIBC
    version = here.version("onnxruntime-qnn")
    if not (linux or here.system == "Windows"):
        where = f"{here.system} {here.machine}{f', {libc} {number}' if libc else ''}"
        return CheckResult(name, OK, f"not for {where}", "it needs x86-64 Linux with glibc 2.35 or newer, or Windows")
    if version is None:
        return CheckResult(name, OK, "not installed (optional)", INSTALL_QNN)
    if not here.importable("onnxruntime_qnn"):
        return CheckResult(name, WARN, f"onnxruntime-qnn {version} cannot be imported", INSTALL_QNN)
    return CheckResult(name, OK, f"onnxruntime-qnn {version}")
