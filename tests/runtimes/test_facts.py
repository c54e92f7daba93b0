"""What runtimes say of themselves: nothing else knows them by name."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

import qnb
from qnb import targets
from qnb.runtimes import RUNTIMES, OnnxRuntime, QnnHtp, Runtime, qnn, register, soc
from qnb.sim.exact import KERNELS
from qnb.workflow.deployment.order import default_soc

PACKAGE = Path(qnb.__file__).parent
NAMES = re.compile(r"""["'](?:onnxruntime|htp|HTP)["']""")
WRITTEN_BY_NAME = {
    "cli/checks.py",  # a package's name
    "runtimes/onnxruntime.py",
    "runtimes/qnn.py",
    "runtimes/qnn_library.py",  # a package's name
    "runtimes/runtime.py",  # a package's name
    "sim/exact/kernels.py",
}


def test_one_name_for_each_and_a_title():
    assert {name: RUNTIMES[name] for name in RUNTIMES} == {"onnxruntime": OnnxRuntime, "htp": QnnHtp}
    for name in RUNTIMES:
        assert RUNTIMES[name].name == name and RUNTIMES[name].title != Runtime.title


@pytest.mark.parametrize("name", ["onnxruntime", "htp"])
def test_exact_rules_exist(name):
    assert RUNTIMES[name].exact in KERNELS


def test_which_targets_they_suit():
    suited = {t: [n for n in RUNTIMES if RUNTIMES[n].suits(targets.get(t))] for t in ("generic", "htp-v75")}
    assert suited == {"generic": ["onnxruntime"], "htp-v75": ["onnxruntime", "htp"]}


def test_titles_name_the_soc(monkeypatch):
    monkeypatch.setattr(qnn, "emulated", lambda: False)
    assert QnnHtp.title_for(soc.get("sm8650")) == "HTP v75 (sm8650)" and not QnnHtp.emulated()
    assert OnnxRuntime.title_for(soc.get("sm8650")) == "ONNX Runtime, CPU"


def test_what_is_not_timed(monkeypatch):
    monkeypatch.setattr(qnn, "emulated", lambda: True)
    assert "emulator" in QnnHtp.untimed(None)
    monkeypatch.setattr(qnn, "emulated", lambda: False)
    assert QnnHtp.untimed(None) == ""


def test_a_name_is_taken_once():
    with pytest.raises(qnb.errors.InputError, match="'htp' is taken"):
        register(type("Other", (Runtime,), {"name": "htp"}))


def test_no_other_file_knows_one_by_name():
    code = {p.relative_to(PACKAGE).as_posix(): p.read_text() for p in PACKAGE.rglob("*.py")}
    in_docstrings = re.compile(r'""".*?"""', re.DOTALL)
    found = {file for file, text in code.items() if NAMES.search(in_docstrings.sub("", text))}
    assert found <= WRITTEN_BY_NAME


def test_a_new_architecture_is_one_target(monkeypatch):
    monkeypatch.setitem(targets.TARGETS.rows, "htp-v99", replace(targets.get("htp-v75"), name="htp-v99", htp_arch=99))
    found = default_soc(targets.get("htp-v99"))
    assert found == soc.get("HTP-v99") == soc.Soc("htp-v99", "any Hexagon v99", 99, None, "htp-v99")
    assert QnnHtp.suits(targets.get("htp-v99"))


def test_a_board_with_a_known_architecture_takes_its_first_soc():
    board = replace(targets.get("htp-v75"), name="acme-board")
    assert default_soc(board).soc == "sm8650" == default_soc(targets.get("generic")).soc
