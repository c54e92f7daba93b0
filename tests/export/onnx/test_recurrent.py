"""Recurrent layers in a file: all steps written out, with the quantizers of the simulation between them."""

import json
from functools import cache

import pytest
import torch
from torch import nn

import qnb
from qnb.export import export_encodings, export_onnx
from qnb.graph import capture
from tests.export.files import File, agreement_db, exported

STEPS, FEATURES, HIDDEN = 5, 6, 4
KINDS = {"lstm": nn.LSTM, "gru": nn.GRU}


class Recurrent(nn.Module):
    """The sequence and the last states of two layers, from zeros or given states (samples, layers, features)."""

    def __init__(self, kind, **options):
        super().__init__()
        self.rnn = kind(FEATURES, HIDDEN, num_layers=2, **options)

    def forward(self, x, h=None, c=None):
        given = [state.transpose(0, 1).contiguous() for state in (h, c) if state is not None]
        sequence, last = self.rnn(x, None if not given else given[0] if len(given) == 1 else tuple(given))
        return (sequence, *last) if isinstance(last, tuple) else (sequence, last)


class Sequence(Recurrent):
    def forward(self, x):
        return self.rnn(x)[0]


@cache
def captured(kind, model=Recurrent, given=False, samples=3, **options):
    torch.manual_seed(0)
    net = model(KINDS[kind], **options).eval()
    x = torch.randn(*((samples, STEPS) if options.get("batch_first") else (STEPS, samples)), FEATURES)
    count = (2 if kind == "lstm" else 1) if given else 0
    batch = (x, *(torch.randn(samples, 2, HIDDEN) for _ in range(count)))
    return capture(net, batch), batch


def sim_of(kind, precision, **options):
    graph, batch = captured(kind, **options)
    return qnb.QuantSim(graph, precision=precision, target="htp-v75").calibrate([batch]), batch


LEAST = {"w16a16": 60, "w8a16": 60, "w8a8": 25}


@pytest.mark.parametrize("precision", LEAST)
@pytest.mark.parametrize("kind", KINDS)
def test_it_agrees_with_the_sim_at_any_batch_size(kind, precision, tmp_path):
    sim, (x,) = sim_of(kind, precision, batch_first=True, bidirectional=True)
    runtime = exported(sim, tmp_path / "m.onnx")
    for count in (3, 1):
        assert agreement_db(sim, runtime, x[:count]) >= LEAST[precision], count


@pytest.mark.parametrize(
    "options", [{"batch_first": True}, {"bias": False}, {"batch_first": True, "given": True}], ids=str
)
@pytest.mark.parametrize("kind", KINDS)
def test_options(kind, options, tmp_path):
    sim, batch = sim_of(kind, "w8a16", samples=1, **options)
    file = File(export_onnx(sim, tmp_path / "m.onnx"))
    assert not file.ops("LSTM", "GRU", "Recurrence")
    assert agreement_db(sim, qnb.runtimes.OnnxRuntime(file.path, threads=1), batch) >= 60


@pytest.mark.parametrize("form", ["fp32", "fp16"])
def test_in_floating_point(form, tmp_path):
    sim, batch = sim_of("lstm", form, batch_first=True, bidirectional=True)
    assert agreement_db(sim, exported(sim, tmp_path / "m.onnx"), batch) >= (100 if form == "fp32" else 50)


def test_nodes_grow_with_the_steps_alone(tmp_path):
    """One product for the inputs of all steps; one more, and eleven other ops, at each step."""
    sim, _ = sim_of("lstm", "w8a8", model=Sequence, samples=1, batch_first=True)
    file = File(export_onnx(sim, tmp_path / "m.onnx", batch=1))
    assert len(file.ops("Gemm")) == 2 * (1 + STEPS)
    assert len(file.ops("Tanh", "Sigmoid")) == 2 * STEPS * 4 and len(file.ops("Mul", "Add")) == 2 * STEPS * 5
    assert not file.ops("Transpose"), "one sample's rows are in order"


def test_every_value_inside_has_its_quantizers_grid(tmp_path):
    sim, _ = sim_of("lstm", "w8a8", model=Sequence, samples=1, batch_first=True)
    file = File(export_onnx(sim, tmp_path / "m.onnx", batch=1))
    site = next(iter(sim.plan.recurrent.values()))
    for kind, key in site.keys[0].items():
        name = f"rnn.{kind}_l0" + ("" if kind == "input_projection" else f"_t{STEPS - 1}")
        _, scale, zero_point = file.maker[f"{name}_quantized"].input
        wanted = sim.activation(key).encoding()
        assert file.values(scale) == wanted[0].numpy() and file.values(zero_point) == int(wanted[1])
    scales = [name for name in file.initializers if name.endswith("_scale")]
    assert len(scales) < 60, "all steps share one"


@pytest.mark.parametrize("version", ["1.0.0", "2.0.0"])
def test_encodings_name_the_tensors_of_the_file(version, tmp_path):
    sim, batch = sim_of("gru", "w8a8", model=Sequence, samples=1, batch_first=True)
    path = export_encodings(sim, tmp_path / "m.json", version)
    content = json.loads(path.read_text())
    entries = content["encodings"] if version == "2.0.0" else content["activation_encodings"]
    names = {entry["name"] for entry in entries}
    file = File(export_onnx(sim, tmp_path / "m.onnx", batch=1))
    assert {f"rnn.hidden_state_l0_t{t}" for t in range(STEPS)} <= names
    assert {name for name in names if "_l0" in name or "_l1" in name} <= {*file.maker, *file.initializers}
    with torch.no_grad():
        assert torch.equal(sim.copy().load_encodings(path)(*batch), sim(*batch))


@pytest.mark.parametrize("precision", ["w16a16", "w8a16", "w8a8"])
@pytest.mark.parametrize("kind", KINDS)
def test_htp(htp, kind, precision, tmp_path):
    sim, batch = sim_of(kind, precision, model=Sequence, samples=1, batch_first=True, bidirectional=True)
    runtime = htp(export_onnx(sim, tmp_path / "m.onnx", batch=1, integer_io=True))
    assert agreement_db(sim, runtime, batch) >= (22 if precision == "w8a8" else 45)
    assert set(runtime.placement()["provider"]) == {"HTP"}


@pytest.mark.parametrize("kind", KINDS)
def test_htp_with_given_states(htp, kind, tmp_path):
    sim, batch = sim_of(kind, "w8a16", samples=1, batch_first=True, given=True)
    runtime = htp(export_onnx(sim, tmp_path / "m.onnx", integer_io=True))
    assert agreement_db(sim, runtime, batch) >= 45
