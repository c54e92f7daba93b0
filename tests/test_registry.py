"""Registries, and what other packages add to them: a tiny installed package for each group, used from outside."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from qnb.errors import InputError, PluginWarning
from qnb.registry import Registry

USUAL = """
import torch, qnb
from torch import nn
torch.manual_seed(0)
model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4)).eval()
batches = [torch.randn(4, 3, 8, 8) for _ in range(2)]
"""

RULE = """
from qnb.ranges import MinMax, rule

@rule("halved", MinMax, part=(0, 1))
def halved(statistics, grid, part=0.5):
    return statistics.min * part, statistics.max * part
"""
USE_RULE = """
wide, narrow = (qnb.QuantSim(model, batches[0], "w8a8").calibrate(batches, m) for m in ("minmax", "halved"))
a, b = (sim.encodings().query("kind == 'activation'")["max"].iloc[0] for sim in (wide, narrow))
assert 0 < b < 0.6 * a, (a, b)
sim = qnb.QuantSim(model, batches[0], "w8a8").calibrate(batches, "halved", part=0.25)
assert sim.encodings().query("kind == 'activation'")["max"].iloc[0] < 0.6 * b
"""

TARGET = """
from qnb.targets import get
from qnb.targets.target import variant

variant(get("generic"), "acme-npu", description="Acme's NPU", fixed_ranges={"relu": (0.0, 4.0)},
        precisions=("fp32", "w8a8"), accepts_any_precision=False)
"""
USE_TARGET = """
sim = qnb.QuantSim(model, batches[0], "w8a8", target="acme-npu").calibrate(batches)
assert 4.0 in sim.encodings()["max"].explode().astype(float).round(1).tolist()
assert qnb.targets.supported("acme-npu").precision.tolist() == ["fp32", "w8a8"]
assert qnb.targets.runs("acme-npu", "w8a8") and not qnb.targets.runs("acme-npu", "w4a8")
"""

METHOD = """
from qnb.methods.method import method
from qnb.methods.reporting.result import Found

@method("stretch", "Widen the ranges", "range", fits=None)
def stretch(sim, batches, *, factor: float = 1.1, progress=None) -> Found:
    "Make the range of every activation larger."
    for key in sim.plan.activations:
        quantizer = sim.activation(key)
        if quantizer.active:
            quantizer.set_encoding(quantizer.scale * factor, quantizer.zero_point)
    return Found()
"""
USE_METHOD = """
flow = qnb.Workflow(model, batches, lambda m: float(m(batches[0]).mean()), tolerance=1.0)
flow.run("w8a8")
run = flow.recover("w8a8", "stretch", factor=1.5)
assert run.name == "w8a8+stretch" and run.sim.applied_methods == ("stretch",)
scale = lambda run: run.sim.encodings().query("kind == 'activation'").scale.iloc[0]
assert abs(float(scale(run)) / float(scale(flow["w8a8"])) - 1.5) < 1e-4
assert "stretch" in list(qnb.methods.METHODS) and qnb.methods.METHODS["stretch"].options == ["factor"]
"""

RUNTIME = """
from qnb.runtimes import OnnxRuntime, register

@register
class Acme(OnnxRuntime):
    name, title, rank = "acme", "Acme NPU", 2
"""
USE_RUNTIME = """
import tempfile
from pathlib import Path
flow = qnb.Workflow(model, batches, lambda m: float(m(batches[0]).mean()), tolerance=1.0, target="generic")
flow.run("w8a8")
with tempfile.TemporaryDirectory() as folder:
    found = flow.deploy("w8a8", folder, samples=2, evaluate=False)
    assert [r.runtime for r in found.runtimes] == ["onnxruntime", "acme"], found.runtimes
    assert found["acme"].title == "Acme NPU" and found.primary_runtime is found["acme"] and found.agrees
    runtime = qnb.runtimes.RUNTIMES["acme"](Path(folder) / "w8a8.onnx")
    assert qnb.fidelity(flow["w8a8"].sim, runtime, batches).sqnr_db.min() > 25
"""

PARTS = {
    "range_rules": ("halved", RULE, USE_RULE),
    "targets": ("acme-npu", TARGET, USE_TARGET),
    "methods": ("stretch", METHOD, USE_METHOD),
    "runtimes": ("acme", RUNTIME, USE_RUNTIME),
}


def install(folder: Path, module: str, entry_points: str) -> None:
    """A package as pip leaves it: its module and its metadata."""
    info = folder / "acme_quant-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-quant\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)
    (folder / "acme_quant.py").write_text(module)


def run(folder: Path, code: str) -> subprocess.CompletedProcess:
    """In a fresh interpreter that has the package."""
    places = [str(folder), str(Path(__file__).parents[1])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(places), "PYTHONWARNINGS": "always::UserWarning"}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, env=environment)


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
def test_another_package_brings_one(part, tmp_path):
    name, module, use = PARTS[part]
    install(tmp_path, module, f"[qnb.{part}]\n{name} = acme_quant\n")
    done = run(tmp_path, USUAL + use)
    assert done.returncode == 0, done.stderr
    assert "PluginWarning" not in done.stderr


BROKEN = {
    "its import fails": ("import a_package_that_is_not_there", "ModuleNotFoundError: No module named"),
    "it ends the process": ("raise SystemExit(3)", "SystemExit: 3"),
    "it registers nothing": ("x = 1", "does not register a number of that name"),
    "its name is taken": ("numbers.add('one', 2)", "InputError: register a number: 'one' is taken"),
    "it registers something else": ("numbers.add('two', '2')", "'two' of type str"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_one_is_a_warning_that_names_it(how, tmp_path, monkeypatch):
    module, why = BROKEN[how]
    install(tmp_path, f"from acme_host import numbers\n{module}", "[acme.numbers]\ntwo = acme_quant\n")
    numbers = Registry("number", of=int, group="acme.numbers")
    numbers.add("one", 1)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "acme_host", SimpleNamespace(numbers=numbers))
    monkeypatch.delitem(sys.modules, "acme_quant", raising=False)
    assert numbers["one"] == 1
    with pytest.warns(PluginWarning) as caught:
        assert (list(numbers), list(numbers), "two" in numbers) == (["one"], ["one"], False)
    (warned,) = map(str, [w.message for w in caught])
    for words in ("number 'two' of the package acme-quant 1.0", "'acme_quant'", "'acme.numbers'", "qnb goes on", why):
        assert words in warned


@pytest.mark.slow
def test_a_broken_one_stops_nothing(tmp_path):
    groups = "".join(f"[qnb.{part}]\nbroken = acme_quant\n" for part in PARTS)
    install(tmp_path, "1 / 0", groups)
    use = """
flow = qnb.Workflow(model, batches, lambda m: float(m(batches[0]).mean()), tolerance=1.0)
flow.run("w8a8")
flow.recover("w8a8", "correct_bias")
print(len(qnb.methods.METHODS), len(qnb.targets.TARGETS), len(qnb.runtimes.RUNTIMES))
"""
    done = run(tmp_path, USUAL + use)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("ZeroDivisionError") == done.stderr.count("PluginWarning") > 0


@pytest.mark.slow
def test_none_is_loaded_before_it_is_asked_for(tmp_path):
    groups = "".join(f"[qnb.{part}]\n{name} = acme_quant\n" for part, (name, _, _) in PARTS.items())
    install(tmp_path, "print('loaded')", groups)
    use = 'sim = qnb.QuantSim(model, batches[0], "w8a8").calibrate(batches, "mse")\nqnb.methods.adaround\nprint("end")'
    done = run(tmp_path, USUAL + use)
    assert done.returncode == 0 and done.stdout == "end\n", done.stderr


@pytest.mark.slow
def test_a_wrong_name_lists_what_others_bring(tmp_path):
    install(tmp_path, RULE, "[qnb.range_rules]\nhalved = acme_quant\n")
    done = run(tmp_path, USUAL + 'qnb.QuantSim(model, batches[0], "w8a8").calibrate(batches, "halve")')
    assert "Did you mean 'halved'? There are minmax, percentile, sqnr, mse, saturating, halved" in done.stderr


class TestRegistry:
    def test_rows(self):
        numbers = Registry("number", of=int)
        assert numbers.add("one", 1) == 1 and numbers["one"] == 1
        numbers.register("two")(2)
        assert list(numbers) == ["one", "two"] and len(numbers) == 2 and "two" in numbers and 2 not in numbers

    @pytest.mark.parametrize(
        ("name", "row", "message"),
        [
            ("one", 1, "'one' is taken. To fix: choose another name"),
            ("two", "2", "'two' of type str. To fix: give one of type int"),
        ],
    )
    def test_what_does_not_fit(self, name, row, message):
        numbers = Registry("number", of=int)
        numbers.add("one", 1)
        with pytest.raises(InputError, match=message):
            numbers.add(name, row)

    def test_an_unknown_name(self):
        numbers = Registry("number")
        numbers.add("seven", 7)
        with pytest.raises(InputError, match="there is no 'sevn'. Did you mean 'seven'"):
            numbers["sevn"]

    def test_rows_may_be_added_while_it_is_gone_through(self):
        numbers = Registry("number")
        numbers.add("one", 1)
        for name in numbers:
            numbers.add(name * 2, 2)
        assert list(numbers) == ["one", "oneone"]
