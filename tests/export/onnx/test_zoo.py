"""Whole models as ONNX files: what ONNX Runtime computes of them is what the simulation computes."""

from functools import cache

import pytest
import torch

import qnb
from qnb.graph import capture
from tests.export.files import agreement_db, exported
from tests.models import zoo

SLOW = {"resnet20", "lstm", "gru", "attention"}
NAMES = ["resnet20", "mobilenet_v2", "lstm", "gru", "unet", "functional", "attention", "reused"]
MODELS = [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in NAMES]


@cache
def captured(name):
    model, batch = zoo()[name]
    return capture(model, batch), batch


def sim_of(name, precision, target="htp-v75"):
    graph, batch = captured(name)
    return qnb.QuantSim(graph, precision=precision, target=target).calibrate([batch]), batch


def resized(batch, count):
    """The batch with another number of samples."""
    if isinstance(batch, dict):
        return {name: resized(value, count) for name, value in batch.items()}
    if isinstance(batch, tuple):
        return tuple(resized(value, count) for value in batch)
    return torch.cat([batch, batch.flip(0)])[:count]


def test_the_list_is_the_zoo():
    assert sorted(NAMES) == sorted(zoo())


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    ("precision", "target"), [("w8a8", "onnxruntime-cpu"), ("w8a16", "htp-v75")], ids=["w8a8", "w8a16"]
)
def test_the_file_agrees_with_the_sim_at_any_batch_size(name, precision, target, tmp_path):
    sim, batch = sim_of(name, precision, target)
    runtime = exported(sim, tmp_path / "model.onnx")
    assert {t.shape[0] for t in (*runtime.inputs, *runtime.outputs)} == {"batch"}
    for count in (4, 3, 1):
        assert agreement_db(sim, runtime, resized(batch, count)) >= {"w8a8": 25, "w8a16": 60}[precision], count


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenet_v2", "lstm", "functional", "attention"])
def test_fp32(name, tmp_path):
    sim, batch = sim_of(name, "fp32")
    assert agreement_db(sim, exported(sim, tmp_path / "model.onnx"), resized(batch, 3)) >= 110


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenet_v2", "attention"])
def test_a_fixed_batch(name, tmp_path):
    sim, batch = sim_of(name, "w8a16")
    runtime = exported(sim, tmp_path / "model.onnx", batch=1)
    sizes = [t.shape for t in (*runtime.inputs, *runtime.outputs)]
    assert all(isinstance(n, int) for shape in sizes for n in shape) and {s[0] for s in sizes} == {1}
    assert agreement_db(sim, runtime, resized(batch, 1)) >= 60
