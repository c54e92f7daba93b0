"""How many calibration samples are enough: against calibrations with so many, and where one of them is wild."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import qnb
from qnb import columns
from qnb.errors import CalibrationError, Cancelled, InputError
from qnb.measures.calibration import curve as module
from qnb.measures.calibration.result import ENOUGH_DB, CalibrationCurve, with_enough
from qnb.measures.layers.output_parts import OutputNoise, sqnr_db


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def demo():
    return qnb.demo.digits()


def simulated(demo, method="minmax", batches=None, precision="w8a8", **options) -> qnb.QuantSim:
    batches = demo.calibration[:2] if batches is None else batches
    sim = qnb.QuantSim(demo.model, batches[0], precision)
    return sim.calibrate(batches, method, **options)


def ranges_of(sim, rows: pd.DataFrame) -> pd.DataFrame:
    """The sim's own ranges, of the layers in ``rows``."""
    own = sim.encodings()
    own = own[own.kind.isin(["input", "activation"])].drop_duplicates(["layer", "kind"]).set_index(["layer", "kind"])
    return own.loc[pd.MultiIndex.from_frame(rows[["layer", "kind"]]), ["min", "max"]].astype(float).reset_index()


@pytest.mark.parametrize("method", ["minmax", "percentile", "sqnr", "mse"])
def test_all_samples_give_the_encodings_and_the_error_of_the_sim(demo, method):
    sim, batches = simulated(demo, method), demo.calibration[:2]
    found = qnb.calibration_curve(sim, batches)
    assert found.table.samples.tolist() == [1, 2, 4, 8, 16, 32, 64] and found.samples == 64
    last = found.ranges[found.ranges.samples == 64].reset_index(drop=True)
    own = ranges_of(sim, last)
    assert (
        len(last) > 20 and last["min"].tolist() == own["min"].tolist() and last["max"].tolist() == own["max"].tolist()
    )
    assert found.table.sqnr_db.iloc[-1] == sqnr_db(OutputNoise(sim, batches)(sim))
    assert found.table.range_share.iloc[-1] == found.table.least_range_share.iloc[-1] == 1.0


@pytest.mark.parametrize("count", [1, 4, 32, 48])
def test_each_count_is_what_a_calibration_with_so_many_gives(demo, count):
    every = torch.cat(demo.calibration[:2])[:48]
    batches = [every[:20], every[20:48]]
    sim = simulated(demo, batches=batches)
    found = qnb.calibration_curve(sim, batches, judged_on=demo.calibration[2:3])
    assert found.table.samples.tolist() == [1, 2, 4, 8, 16, 32, 48]
    few = simulated(demo, batches=[every[:count]])
    rows = found.ranges[found.ranges.samples == count].reset_index(drop=True)
    own = ranges_of(few, rows)
    for end in ("min", "max"):
        np.testing.assert_allclose(rows[end], own[end], rtol=1e-4, atol=1e-5)
    expected = sqnr_db(OutputNoise(few, demo.calibration[2:3])(few))
    assert found.table.set_index("samples").sqnr_db[count] == pytest.approx(expected, abs=0.3)


def test_min_max_ranges_grow_and_the_error_falls(demo):
    found = qnb.calibration_curve(simulated(demo), demo.calibration[:2])
    assert tuple(found.table.columns) == columns.CALIBRATION_CURVE
    assert tuple(found.ranges.columns) == columns.CALIBRATION_RANGES
    assert found.table.range_share.is_monotonic_increasing and found.table.least_range_share.max() == 1.0
    assert found.table.sqnr_db.iloc[-1] > found.table.sqnr_db.iloc[0] + 6
    layer = found.of_layer("stem.conv")
    assert len(layer) == 7 and (layer["max"] - layer["min"]).is_monotonic_increasing
    assert found.of_layer("no such").empty


def test_the_sim_stays_as_it_is(demo):
    sim = simulated(demo, "mse")
    before, statistics = sim.encodings(), [q.statistics for q in sim.quantizers()]
    qnb.calibration_curve(sim, demo.calibration[:2])
    assert sim.encodings().equals(before)
    assert all(q.statistics is s for q, s in zip(sim.quantizers(), statistics, strict=True))
    assert all(q.observer is None for q in sim.quantizers())


def test_layers_with_methods_of_their_own_keep_them(demo):
    batches = demo.calibration[:2]
    sim = simulated(demo).calibrate(batches, "percentile", layers="stem.*", percentile=95)
    found = qnb.calibration_curve(sim, batches)
    last = found.ranges[found.ranges.samples == 64].reset_index(drop=True)
    assert last["max"].tolist() == ranges_of(sim, last)["max"].tolist()
    assert not ranges_of(simulated(demo), last)["max"].tolist() == last["max"].tolist()


def test_frozen_and_fixed_ranges_have_no_rows(demo):
    sim = simulated(demo).freeze("stem.*")
    found = qnb.calibration_curve(sim, demo.calibration[:2])
    assert not any(layer.startswith("stem.") for layer in found.ranges.layer) and len(found.ranges)
    assert found.table.sqnr_db.iloc[-1] == sqnr_db(OutputNoise(sim, demo.calibration[:2])(sim))


def test_a_wild_sample_at_the_end_is_not_enough_and_jumps(demo):
    batches = [x.clone() for x in demo.calibration[:4]]
    batches[3][-1] *= 40
    calm = [*batches[:3], batches[3][:-1]]
    found = qnb.calibration_curve(simulated(demo, batches=batches), batches, judged_on=calm)
    assert found.enough is None and not found.table.enough.any()
    before, after = found.table.iloc[-2], found.table.iloc[-1]
    assert before.least_range_share < 0.05 and before.least_layer == "x" and before.sqnr_db > after.sqnr_db + 10
    said = found.caption()
    assert "128 calibration samples are not enough yet: the last doubling still changed SQNR at the output from" in said
    assert said.endswith("add samples, or leave out those that widen the ranges")
    assert found.document().tone == "warn"


def test_samples_that_are_alike_are_soon_enough():
    torch.manual_seed(0)
    model, one = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4)).eval(), draw(0, 1, 8)
    batches = [one.repeat(32, 1)]
    found = qnb.calibration_curve(qnb.QuantSim(model, batches[0], "w8a8").calibrate(batches), batches)
    assert found.enough == 1 and found.table.enough.all()
    assert found.caption().startswith("1 of 32 calibration samples are enough")


class Fixed(nn.Module):
    """Its batch has four samples, whatever is asked for."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        return self.head(x.reshape(4, 6)).relu()


def test_a_fixed_batch_is_not_cut():
    batches = [draw(i, 4, 6) for i in range(5)]
    sim = qnb.QuantSim(Fixed().eval(), batches[0], "w8a8", dynamic_shapes={"x": None}).calibrate(batches)
    assert sim.captured.inputs[0].shape[0] == 4
    found = qnb.calibration_curve(sim, batches)
    assert found.table.samples.tolist() == [4, 8, 16, 20]
    assert found.of_layer("head")["max"].tolist()[-1] == sim.activation(sim.groups[0].key).limits()[1].item()


def test_one_count_says_so():
    batches = [draw(0, 4, 6)]
    sim = qnb.QuantSim(Fixed().eval(), batches[0], "w8a8", dynamic_shapes={"x": None}).calibrate(batches)
    found = qnb.calibration_curve(sim, batches)
    assert found.table.samples.tolist() == [4] and found.enough is None
    assert "is not known: there is no smaller count" in found.caption() and found.document().text()
    assert found.chart().layout.title.text == "One count of calibration samples, 4: nothing to compare"


def test_there_are_ten_counts_at_most(monkeypatch, demo):
    found = qnb.calibration_curve(simulated(demo), [demo.calibration[0]] * 20 + [demo.calibration[0][:1]])
    assert found.table.samples.tolist() == [2, 4, 8, 16, 32, 64, 128, 256, 512, 641] and module.POINTS == 10


def test_the_cost_is_a_pass_the_batches_that_are_cut_and_one_for_each_count(demo):
    sim, seen = simulated(demo), []
    plain = qnb.QuantSim.run_flat

    class Counted(qnb.QuantSim):
        def run_flat(self, inputs):
            seen.append(len(inputs[0]))
            return plain(self, inputs)

        def copy(self):
            other = qnb.QuantSim.copy(self)
            other.__class__ = Counted
            return other

    sim.__class__ = Counted
    found = qnb.calibration_curve(sim, demo.calibration[:2])
    assert seen[:7] == [1, 1, 2, 4, 8, 32, 32]  # cut at 1, 2, 4, 8, 16; whole; the second batch's end is a power
    assert sum(seen[7:]) == 64 * len(found.table)


def test_lossless_is_lossless_at_every_count():
    model, batches = nn.Sequential(nn.ReLU()).eval(), [torch.arange(256.0).reshape(16, 16) for _ in range(2)]
    found = qnb.calibration_curve(qnb.QuantSim(model, batches[0], "w8a8").calibrate(batches), batches)
    assert found.table.sqnr_db.iloc[-1] == math.inf and found.enough == 16
    assert found.chart().data[0].y[-1] is None and "lossless" in found.caption()


@pytest.mark.parametrize(
    ("rows", "enough"),
    [
        ([(1, 10.0, 0.5), (2, 29.6, 1.0), (4, 30.0, 1.0)], 2),
        ([(1, 10.0, 0.5), (2, 29.4, 1.0), (4, 30.0, 1.0)], None),  # the last doubling gained more
        ([(1, 10.0, 0.5), (2, 30.0, 0.9), (4, 30.0, 1.0)], None),  # ranges still grow
        ([(1, 30.0, 1.0), (2, 20.0, 1.0), (4, 30.0, 1.0)], None),  # it does not stay there
        ([(1, 30.0, 1.0), (2, 30.0, 1.0), (4, 30.0, 1.0), (5, 30.0, 1.0)], 1),
        ([(4, 0.0, 0.1), (8, 30.0, 1.0), (9, 30.0, 1.0)], None),  # twice as many were not looked at
        ([(1, math.inf, 1.0), (2, math.inf, 1.0)], 1),
        ([(1, 30.0, 1.0), (2, math.inf, 1.0)], None),
        ([(1, math.nan, 1.0), (2, math.nan, 1.0)], None),
        ([(7, 30.0, 1.0)], None),
    ],
)
def test_when_it_is_enough(rows, enough):
    table = with_enough(pd.DataFrame(rows, columns=["samples", "sqnr_db", "range_share"]))
    found = CalibrationCurve(table.assign(least_range_share=1.0, least_layer="x"), pd.DataFrame())
    assert found.enough == enough and ENOUGH_DB == columns.SAME_DB
    assert found.caption() and found.document().text()


def test_cancelled_between_batches(demo):
    sim, calls = simulated(demo), []

    def cancel(done, total, message):
        calls.append(message)
        if message == "collecting ranges":
            raise Cancelled("stop", "the user", "nothing")

    before = sim.encodings()
    with pytest.raises(Cancelled):
        qnb.calibration_curve(sim, demo.calibration[:2], progress=cancel)
    assert calls == ["running FP32", "running FP32", "collecting ranges"] and sim.encodings().equals(before)


def test_wrong_calls(demo):
    sim, batches = simulated(demo), demo.calibration[:1]
    with pytest.raises(CalibrationError, match="not calibrated"):
        qnb.calibration_curve(qnb.QuantSim(demo.model, batches[0], "w8a8"), batches)
    with pytest.raises(InputError, match="without ranges that calibration data sets"):
        qnb.calibration_curve(qnb.QuantSim(demo.model, batches[0], "fp16").calibrate(batches), batches)
    with pytest.raises(InputError, match="ExactSim"):
        qnb.calibration_curve(sim.exact("onnxruntime"), batches)
    with pytest.raises(InputError, match="one-shot"):
        qnb.calibration_curve(sim, iter(batches))
    wild = [batches[0], batches[0] * math.nan]
    with pytest.raises(CalibrationError, match=r"qnb\.calibration_curve.*batch 1"):
        qnb.calibration_curve(sim, wild, judged_on=batches)
