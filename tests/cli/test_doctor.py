"""Each check in surroundings made for it, and the command in the real ones."""

import dataclasses
import json
import os
import subprocess
import sys
import time

import pytest

from qnb import __version__
from qnb.cli import checks, doctor, main
from qnb.cli.checks import CHECKS, CheckResult
from qnb.cli.surroundings import Surroundings, release
from qnb.registry import Registry

REQUIRES = (
    "torch>=2.9",
    "numpy<3,>=2.0",
    "pandas>=2.2; python_version >= '3.9'",
    "plotly",
    "onnxruntime-qnn>=2.7; extra == 'qnn'",
)
VERSIONS = {"qnb": __version__, "torch": "2.9.0+cpu", "numpy": "2.10.1", "pandas": "2.1.4"}


def page_config(folder, disabled) -> None:
    path = folder / "labconfig" / "page_config.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"disabledExtensions": disabled}))


def extension(environment, version=__version__) -> None:
    path = environment / "share" / "jupyter" / "labextensions" / "qnb" / "package.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"name": "qnb", "version": version}))


def kernelspec(environment, interpreter) -> None:
    path = environment / "share" / "jupyter" / "kernels" / "python3" / "kernel.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"argv": [str(interpreter), "-m", "ipykernel_launcher"], "display_name": "Python 3"}))


def interpreter(environment) -> str:
    path = environment / "bin" / "python"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


def surroundings(tmp_path, **changes) -> Surroundings:
    """A healthy environment in tmp_path/env, with the changes."""
    env = tmp_path / "env"
    standard = {
        "python": (3, 12, 1),
        "executable": interpreter(env),
        "prefix": env,
        "requires": REQUIRES,
        "version": VERSIONS.get,
        "importable": lambda name: False,
        "jupyter": None,
        "run": lambda command: json.dumps({"threads": 4, "gpu": None}),
        "cores": 4,
        "system": "Linux",
        "machine": "x86_64",
        "libc": ("glibc", "2.39"),
        "data": (env / "share" / "jupyter",),
        "config": (tmp_path / "user", env / "etc" / "jupyter"),
    }
    return Surroundings(**{**standard, **changes})


def found(name, here) -> CheckResult:
    return CHECKS[name](here)


def test_an_old_python(tmp_path):
    assert found("Python", surroundings(tmp_path)).status == "ok"
    old = found("Python", surroundings(tmp_path, python=(3, 10, 9)))
    assert old.status == "fail" and old.found.startswith("3.10.9") and "3.11" in old.remedy


def test_the_version_that_runs_is_the_one_installed(tmp_path):
    assert found("qnb", surroundings(tmp_path)) == CheckResult("qnb", "ok", __version__)
    assert found("qnb", surroundings(tmp_path, version={"qnb": "0.0.1"}.get)).status == "warn"
    assert "not installed" in found("qnb", surroundings(tmp_path, version={}.get)).found


def test_packages(tmp_path):
    here = surroundings(tmp_path)
    assert here.bounds() == {"torch": "2.9", "numpy": "2.0", "pandas": "2.2"}
    assert found("torch", here) == CheckResult("torch", "ok", "2.9.0+cpu")
    assert found("numpy", here).status == "ok"  # 2.10 is newer than 2.9
    pandas, plotly = found("pandas", here), found("plotly", here)
    assert (pandas.status, pandas.found) == ("fail", "2.1.4, older than 2.2")
    assert pandas.remedy.endswith("-m pip install 'pandas>=2.2'")
    assert (plotly.status, plotly.found) == ("fail", "not installed")


def test_bounds_come_from_the_installed_metadata():
    bounds = Surroundings().bounds()
    assert not bounds or {"torch", "jupyterlab", "anywidget"} <= set(bounds)


@pytest.mark.parametrize(("a", "b"), [("2.10", "2.9"), ("3", "2.99.1"), ("2.0.1", "2.0")])
def test_versions_compare_as_numbers(a, b):
    assert release(a) > release(b) and release("2.0.0") == release("2")


def test_the_extension_is_there_missing_disabled_or_of_another_version(tmp_path):
    here = surroundings(tmp_path)
    missing = found("extension", here)
    assert missing.status == "fail" and missing.remedy == f"{here.executable} -m pip install qnb"
    extension(here.prefix)
    assert found("extension", here).status == "ok"
    page_config(here.prefix / "etc" / "jupyter", {"qnb": True})
    disabled = found("extension", here)
    assert disabled.status == "fail" and disabled.remedy.endswith("labextension enable qnb")
    page_config(tmp_path / "user", {"qnb": False})  # the user's word counts more
    assert found("extension", here).status == "ok"


def test_a_disabled_plugin_and_a_list_of_names(tmp_path):
    here = surroundings(tmp_path)
    extension(here.prefix)
    page_config(here.prefix / "etc" / "jupyter", ["other", "qnb:plugin"])
    assert "qnb:plugin" in found("extension", here).remedy


def test_an_extension_of_another_version(tmp_path):
    here = surroundings(tmp_path)
    extension(here.prefix, "0.0.9")
    assert found("extension", here).status == "warn"


def test_jupyter_of_another_environment(tmp_path):
    server = tmp_path / "server"
    (server / "bin").mkdir(parents=True)
    (server / "bin" / "jupyter").write_text("")
    python = interpreter(server)
    here = surroundings(tmp_path, jupyter=str(server / "bin" / "jupyter"))
    extension(here.prefix)
    missing = found("extension", here)
    assert missing.status == "fail" and str(server) in missing.found and missing.remedy.startswith(python)
    assert found("extension here", here).status == "ok"
    extension(server)
    assert found("extension", here).status == "ok"


def test_a_link_to_jupyter_leads_to_its_environment(tmp_path):
    (tmp_path / "server" / "bin").mkdir(parents=True)
    (tmp_path / "server" / "bin" / "jupyter").write_text("")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "jupyter").symlink_to(tmp_path / "server" / "bin" / "jupyter")
    assert surroundings(tmp_path, jupyter=str(tmp_path / "links" / "jupyter")).server == tmp_path / "server"


def test_no_extension_here_matters_little(tmp_path):
    here = surroundings(tmp_path, jupyter=str(tmp_path / "server" / "bin" / "jupyter"))
    assert found("extension here", here).status == "warn"
    assert found("extension here", surroundings(tmp_path)).status == "ok"


@pytest.mark.parametrize("said", ["python", "own"])
def test_a_kernel_of_this_interpreter(tmp_path, said):
    here = surroundings(tmp_path)
    kernelspec(here.prefix, here.executable if said == "own" else said)
    assert found("kernel", here).status == "ok"


@pytest.mark.parametrize(("missing", "state"), [([], "warn"), (["qnb"], "fail"), (["qnb", "ipywidgets"], "fail")])
def test_a_kernel_of_another_interpreter(tmp_path, missing, state):
    other, asked = interpreter(tmp_path / "other"), []
    here = surroundings(tmp_path, run=lambda command: asked.append(command[0]) or json.dumps(missing))
    kernelspec(here.prefix, other)
    finding = found("kernel", here)
    assert finding.status == state and other in finding.found and all(name in finding.found for name in missing)
    assert asked == [other] and "ipykernel install" in finding.remedy


def test_a_kernel_that_is_gone_and_no_kernel(tmp_path):
    here = surroundings(tmp_path)
    assert "ipykernel" in found("kernel", here).remedy
    kernelspec(here.prefix, tmp_path / "gone" / "bin" / "python")
    assert "does not exist" in found("kernel", here).found


@pytest.mark.parametrize(("threads", "cores", "state"), [(4, 4, "ok"), (4, 8, "ok"), (1, 8, "warn"), (8, 2, "warn")])
def test_threads(tmp_path, threads, cores, state):
    here = surroundings(tmp_path, cores=cores, run=lambda command: json.dumps({"threads": threads, "gpu": None}))
    finding = found("threads", here)
    assert finding.status == state and bool(finding.remedy) == (state == "warn")


def test_cuda_is_no_duty_and_torch_is_asked_once(tmp_path):
    asked = []
    here = surroundings(tmp_path, run=lambda command: asked.append(1) or '{"threads": 4, "gpu": "A card"}')
    assert found("CUDA", here) == CheckResult("CUDA", "ok", "A card")
    found("threads", here)
    assert asked == [1]
    assert found("CUDA", surroundings(tmp_path)).status == "ok"


@pytest.mark.parametrize(
    ("changes", "state", "text"),
    [
        ({}, "ok", "not installed"),
        ({"machine": "aarch64"}, "ok", "not for Linux aarch64"),
        ({"libc": ("glibc", "2.31")}, "ok", "not for Linux x86_64, glibc 2.31"),
        ({"libc": ("", "")}, "ok", "not for Linux"),
        ({"system": "Darwin", "machine": "arm64"}, "ok", "not for Darwin"),
        ({"system": "Windows", "machine": "AMD64", "libc": ("", "")}, "ok", "not installed"),
        ({"version": lambda name: "2.7", "importable": lambda name: True}, "ok", "onnxruntime-qnn 2.7"),
        ({"version": lambda name: "2.7"}, "warn", "cannot be imported"),
    ],
)
def test_the_emulator(tmp_path, changes, state, text):
    finding = found("HTP emulator", surroundings(tmp_path, **changes))
    assert finding.status == state and text in finding.found
    if text == "not installed":
        assert finding.remedy == "pip install 'qnb[qnn]'"


def test_a_check_that_raises_has_failed(tmp_path):
    def broken(command):
        raise RuntimeError("ImportError: libc10.so\nis missing")

    here = surroundings(tmp_path, run=broken)
    findings = {f.name: f for f in doctor.examine(here)}
    assert findings["CUDA"].status == "fail" and findings["CUDA"].found.endswith("libc10.so is missing")
    assert len(findings) == len(CHECKS)


def test_damaged_files_are_found_not_raised(tmp_path):
    here = surroundings(tmp_path)
    kernelspec(here.prefix, "python")
    (here.prefix / "share/jupyter/kernels/python3/kernel.json").write_text("{")
    assert {f.name: f.status for f in doctor.examine(here)}["kernel"] == "fail"


def test_a_new_check_is_one_function(tmp_path):
    registry = Registry("check")
    registry.register("disk")(lambda here: CheckResult("disk", "ok", "large"))
    assert doctor.examine(surroundings(tmp_path), registry) == [CheckResult("disk", "ok", "large")]


def test_findings_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        CheckResult("a", "ok", "").status = "fail"


def test_a_line_per_check_and_the_exit_status(tmp_path, capsys):
    assert doctor.doctor(here=surroundings(tmp_path)) == 1
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == len(CHECKS) and {line[0] for line in shown} <= set("✓!✗")
    assert any("pandas" in line and "→" in line and line.startswith("✗") for line in shown)


def test_a_terminal_without_those_characters():
    text = doctor.table([CheckResult("a", "fail", "gone", "do it"), CheckResult("b", "ok", "there")], doctor.PLAIN)
    assert text.isascii() and text.splitlines() == ["x  a  gone -> do it", "ok b  there"]


def test_heavy_packages_are_not_imported():
    code = "import sys, qnb.cli.doctor, qnb.cli.lab; print({'torch', 'pandas', 'plotly', 'onnx'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert run.stdout.strip() == "set()", run.stderr


def qnb(*arguments, **environment) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "qnb.cli", *arguments]
    env = {**os.environ, "PYTHONIOENCODING": "utf-8", **environment}
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=60, env=env)


def test_the_command_in_the_real_surroundings():
    start = time.monotonic()
    run = qnb("doctor", "--json")
    took = time.monotonic() - start
    said = json.loads(run.stdout)
    states = {f["name"]: f["status"] for f in said["findings"]}
    assert run.stderr == "" and run.returncode == (0 if said["ok"] else 1)
    assert said["ok"] == ("fail" not in states.values())
    assert states["Python"] == states["torch"] == states["CUDA"] == "ok"
    assert took < 20  # on a quiet machine less than 2 s; a busy one must not fail for it


def test_the_table_in_the_real_surroundings():
    run = qnb("doctor", PYTHONIOENCODING="ascii")
    assert len(run.stdout.splitlines()) == len(CHECKS) and run.stdout.isascii() and run.stderr == ""


def test_version_help_and_misspelt_commands(capsys):
    assert qnb("--version").stdout == f"qnb {__version__}\n"
    with pytest.raises(SystemExit) as stop:
        main(["doctr"])
    assert stop.value.code == 2 and "doctr" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main(["doctor", "--", "x"])
    assert stop.value.code == 2


def test_every_package_that_is_looked_at_is_a_requirement():
    bounds = Surroundings().bounds()
    if not bounds:
        pytest.skip("qnb is not installed")
    assert set(checks.PACKAGES) <= set(bounds)
