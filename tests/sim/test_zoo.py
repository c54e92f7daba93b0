"""Whole models through capture, calibration and comparison; W16A16 is the baseline and must agree with FP32."""

import pytest
import torch

import qnb
from qnb.graph.captured import as_call
from qnb.graph.structure import flatten
from qnb.measures.layers.error import ErrorStats
from tests.models import transformers_zoo, zoo

NAMES = [*zoo(), "bert", "gpt2", "llama", "vit", "whisper"]


@pytest.fixture(scope="module")
def models():
    return {**zoo(), **transformers_zoo()}


def output_db(model, sim, batch):
    args, kwargs = as_call(batch)
    with torch.no_grad():
        own, simulated = flatten(model(*args, **kwargs))[0], flatten(sim(*args, **kwargs))[0]
    stats = ErrorStats()
    for a, b in zip(own, simulated, strict=True):
        stats.update(a, b)
    return stats.sqnr_db


@pytest.mark.parametrize("target", ["generic", "htp-v75"])
@pytest.mark.parametrize("name", NAMES)
def test_w16a16_agrees_with_fp32(models, name, target):
    model, batch = models[name]
    sim = qnb.QuantSim(model, batch, "w16a16", target=target).calibrate([batch])
    table = qnb.compare_layers(sim, [batch])
    assert len(table) == len(sim.groups) > 2 and not table.isna().any().any()
    assert output_db(model, sim, batch) >= 60
    assert not sim.plan.unknown


@pytest.mark.parametrize("name", NAMES)
def test_eight_bits_lose_more_and_stay_finite(models, name):
    model, batch = models[name]
    sim = qnb.QuantSim(model, batch, "w8a8").calibrate([batch])
    coarse = output_db(model, sim, batch)
    fine = output_db(model, sim.set_precision(None, "w16a16"), batch)
    assert 5 < coarse < fine - 15


@pytest.mark.parametrize("name", ["attention", "llama", "lstm", "unet"])
def test_saved_and_loaded_gives_the_same_numbers(models, name, tmp_path):
    model, batch = models[name]
    sim = qnb.QuantSim(model, batch, "w8a8").calibrate([batch])
    sim.save(tmp_path / "sim.qnbsim")
    loaded = qnb.QuantSim.load(tmp_path / "sim.qnbsim")
    flat = sim.flatten(batch, "test")
    with torch.no_grad():
        for a, b in zip(sim.run_flat(flat), loaded.run_flat(flat), strict=True):
            assert torch.equal(a, b)


def test_what_a_grid_needs_beyond_the_range_is_not_added_twice(models, tmp_path):
    """Room for a mask, headroom, a span: a loaded sim knows the range that calibration saw."""
    model, batch = models["attention"]
    sim = qnb.QuantSim(model, batch, "w16a16", target="htp-v75").calibrate([batch])
    sim.save(tmp_path / "sim.qnbsim")
    loaded = qnb.QuantSim.load(tmp_path / "sim.qnbsim")
    for precision in ("w8a8", "w16a16"):
        assert loaded.set_precision(None, precision).encodings().equals(sim.set_precision(None, precision).encodings())


@pytest.mark.parametrize("kind", [torch.nn.LSTM, torch.nn.GRU])
def test_recurrent_weights_inputs_and_outputs_are_quantized(models, kind):
    model, batch = models[kind.__name__.lower()]
    sim = qnb.QuantSim(model, batch, "w8a8").calibrate([batch])
    table = sim.encodings()
    weights = {n for n, p in model.rnn.named_parameters() if p.dim() == 2}
    assert {f"rnn.{n}" for n in weights} <= set(table[table.kind == "weight"].tensor)
    assert {"embedding", "rnn"} <= set(table[table.kind == "activation"].layer)
