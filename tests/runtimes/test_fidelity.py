"""Simulation against runtime: the figures mean what they say, and HTP's known traps stay closed."""

import math

import pandas as pd
import pytest
import torch
from torch import nn

import qnb
from qnb import columns
from qnb.errors import CalibrationError, InputError
from qnb.runtimes.fidelity import _Row
from tests.models import transformers_zoo

CODES = {"grid": "uint8", "scale": 0.5, "zero_point": 10}


@pytest.fixture
def exported(tmp_path):
    """(sim, runtime, batches) of a small net, on ONNX Runtime."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)).eval()
    batches = [torch.randn(8, 3, 8, 8) for _ in range(2)]
    sim = qnb.QuantSim(model, batches[0], "w8a8").calibrate(batches)
    return sim, qnb.runtimes.OnnxRuntime(qnb.export_onnx(sim, tmp_path / "m.onnx")), batches


def test_a_row_per_layer_then_one_per_output(exported):
    sim, runtime, batches = exported
    table = qnb.fidelity(sim, runtime, batches)
    assert tuple(table.columns) == columns.FIDELITY and table.layer.tolist() == ["0", "3", "output"]
    assert table.numel.tolist() == [16 * 4 * 36, 16 * 5, 16 * 5]
    assert (table.equal_fraction > 0.98).all() and (table.max_steps <= 1).all()
    assert table.top1_agreement.isna().tolist() == [True, True, False]


def test_steps_are_counted_in_codes():
    row = _Row("x", "conv2d", CODES)
    row.update(torch.tensor([10, 11, 14], dtype=torch.uint8), torch.tensor([0.0, 0.5, 1.0]))  # codes 10, 11, 12
    found = row.row()
    assert found["equal_fraction"] == pytest.approx(2 / 3) and found["within_one_fraction"] == pytest.approx(2 / 3)
    assert found["max_steps"] == 2
    assert found["sqnr_db"] == pytest.approx(10 * math.log10((0.5**2 + 2**2) / 1.0))


def test_an_output_comes_as_values():
    row = _Row("output", "output", CODES)
    row.update(torch.tensor([[0.0, 1.0], [2.0, 1.0]]), torch.tensor([[0.0, 1.0], [1.0, 2.0]]))
    found = row.row()
    assert found["top1_agreement"] == 0.5 and found["equal_fraction"] == 0.5 and found["max_steps"] == 2


def test_what_samples_share_is_compared_and_what_does_not_fit_is_named():
    row = _Row("positions", "embedding", None)
    row.update(torch.ones(1, 5, 3), torch.ones(4, 5, 3))
    row.update(torch.ones(4, 5, 3), torch.ones(1, 5, 3))
    assert row.row()["numel"] == 2 * 60 and row.row()["sqnr_db"] == math.inf
    with pytest.raises(InputError, match=r"'positions' has shape \[4, 6, 3\] in the file, \[4, 5, 3\] in the sim"):
        row.update(torch.ones(4, 6, 3), torch.ones(4, 5, 3))


def test_integers_are_counted_and_what_is_masked_out_on_both_sides_is_no_difference():
    row = _Row("class", "output", None)
    row.update(torch.tensor([1, 2, 3, 4]), torch.tensor([1, 2, 3, 5]))
    found = row.row()
    assert found["equal_fraction"] == found["top1_agreement"] == 0.75 and math.isnan(found["max_steps"])
    row = _Row("scores", "output", None)
    row.update(torch.tensor([[1.0, -math.inf]]), torch.tensor([[1.0, -math.inf]]))
    assert row.row()["sqnr_db"] == math.inf
    row.update(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, -math.inf]]))
    assert row.row()["sqnr_db"] == -math.inf


def test_outputs_are_those_of_the_file_as_it_is(exported):
    """Reading layers takes a copy of the file, in which a runtime may fuse less."""
    sim, runtime, batches = exported

    class Fusing(type(runtime)):
        def run(self, *inputs):
            return super().run(*inputs) * 2

    runtime = Fusing(runtime.path)
    table = qnb.fidelity(sim, runtime, batches).set_index("op")
    assert table.sqnr_db["linear"] > 40 and table.sqnr_db["output"] == pytest.approx(20 * math.log10(2), abs=0.1)


def test_a_wrong_simulation_is_found_where_it_is_wrong(exported):
    sim, runtime, batches = exported
    other = sim.copy()
    quantizer = other.weight(next(k for k in other.plan.weights if "linear" in k))
    quantizer.set_encoding(quantizer.scale * 0.5, quantizer.zero_point)
    table = qnb.fidelity(other, runtime, batches).set_index("layer")
    assert table.sqnr_db["0"] > 40 > 35 > table.sqnr_db["3"]


def test_progress_and_errors(exported, tmp_path):
    sim, runtime, batches = exported
    seen = []
    qnb.fidelity(sim, runtime, batches, progress=lambda *a: seen.append(a[:2]))
    assert seen == [(1, 2), (2, 2)]
    with pytest.raises(InputError, match="empty loader"):
        qnb.fidelity(sim, runtime, [])
    fresh = qnb.QuantSim(nn.Linear(3, 2).eval(), torch.randn(4, 3), "w8a8")
    with pytest.raises(CalibrationError, match="not calibrated"):
        qnb.fidelity(fresh, runtime, batches)
    with pytest.raises(InputError, match="does not say where layer"):
        qnb.fidelity(fresh.calibrate([torch.randn(4, 3)]), runtime, batches)


def on_htp(htp, model, x, precision, tmp_path, **how) -> pd.DataFrame:
    sim = qnb.QuantSim(model.eval(), x, precision).calibrate([x])
    runtime = htp(qnb.export_onnx(sim, tmp_path / "m.onnx", batch=1, **how))
    assert set(runtime.placement().provider) == {"HTP"}
    part = {k: v[:4] for k, v in x.items()} if isinstance(x, dict) else x[:4]
    return qnb.fidelity(sim, runtime, [part])


@pytest.mark.parametrize("kind", ["conv", "pointwise", "depthwise", "linear"])
def test_no_16_bit_weight_saturates_on_htp(htp, tmp_path, kind):
    torch.manual_seed(0)
    model = {
        "conv": lambda: nn.Conv2d(8, 16, 3),
        "pointwise": lambda: nn.Conv2d(8, 16, 1),
        "depthwise": lambda: nn.Conv2d(8, 8, 3, groups=8),
        "linear": lambda: nn.Linear(8, 16),
    }[kind]()
    assert on_htp(htp, model, torch.randn(8, 8, 8, 8), "w16a16", tmp_path).sqnr_db.min() > 75, "55 to 65 if it did"


def test_largest_codes_by_target():
    model, x = nn.Linear(8, 4).eval(), torch.randn(4, 8)
    model.weight.data[:, 0] = 2.0  # the largest value of each channel is positive
    for target, largest in (("htp-v75", 32639), ("generic", 32767)):
        sim = qnb.QuantSim(model, x, "w16a16", target=target).calibrate([x])
        key = next(iter(sim.plan.weights))
        codes = torch.round(model.weight.data / sim.weight(key).scale[:, None])
        assert int(codes.max()) == largest


@pytest.mark.parametrize("positions", [15, 16, 17])
def test_rows_of_a_16_bit_layer_norm_keep_their_order_on_htp(htp, tmp_path, positions):
    torch.manual_seed(0)
    model = nn.Sequential(nn.LayerNorm(40), nn.Linear(40, 24))
    assert on_htp(htp, model, torch.randn(8, positions, 40), "w8a16", tmp_path).sqnr_db.min() > 60


def test_a_softmax_of_scores_that_are_close_to_each_other(htp, tmp_path):
    """Below a span of 0.17 HTP halves the largest one of each row: 19 dB."""
    torch.manual_seed(0)
    x = torch.randn(4, 20, 20) * 0.01
    assert on_htp(htp, nn.Softmax(-1), x, "w8a16", tmp_path).sqnr_db.min() > 50


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bert", "gpt2", "llama", "vit", "whisper"])
def test_transformers_run_on_htp_whole(htp, tmp_path, name):
    """One sample at a time, where the simulation has two: position embeddings, which they share, come once."""
    model, batch = transformers_zoo()[name]
    table = on_htp(htp, model, batch, "w8a16", tmp_path)
    assert table[table.op == "output"].sqnr_db.min() > 55 and table.sqnr_db.min() > 45


@pytest.mark.parametrize("groups", [2, 16])
def test_transposed_convolutions_of_several_groups_run_on_htp(htp, tmp_path, groups):
    """With one scale per tensor; per channel, HTP refuses 2 groups, and of 16 it computes other values (-11 dB)."""
    torch.manual_seed(0)
    model = nn.ConvTranspose2d(16, 16, 2, 2, groups=groups)
    assert on_htp(htp, model, torch.randn(8, 16, 9, 9), "w8a8", tmp_path).sqnr_db.min() > 35


@pytest.mark.parametrize(("precision", "least_db"), [("w8a8", 20), ("w8a16", 52), ("w16a16", 52)])
def test_a_transformer_runs_on_htp_whole(htp, tmp_path, precision, least_db):
    demo = qnb.demo.transformer()
    table = on_htp(htp, demo.model, next(iter(demo.calibration)), precision, tmp_path).set_index("layer")
    assert table.sqnr_db["logits"] > least_db and table.top1_agreement["logits"] == 1.0
