"""Distributions of layers' values, against closed forms and NumPy over all data at once."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import nn

import qnb
from qnb import columns
from qnb.measures import distributions, profile_layers
from qnb.measures.layers import channels as channel_figures
from qnb.measures.layers import codes
from qnb.measures.layers.bins import BINS, Even, Values
from qnb.measures.layers.codes import Codes
from qnb.measures.layers.moments import Moments
from qnb.numerics import Grid
from qnb.sim import Quantizer
from tests.models import Attention


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.outer = nn.Linear(6, 8), nn.Linear(8, 5)

    def forward(self, x):
        return self.outer(torch.nn.functional.gelu(self.inner(x)))


@pytest.fixture
def batches():
    return [draw(i, 4, 7, 6) * (1 + i) for i in range(3)]


@pytest.fixture
def sim(batches):
    torch.manual_seed(0)
    return qnb.QuantSim(Tokens().eval(), batches[0], "w4a4", target="generic").calibrate(batches[:1])


def outputs(sim, batches) -> tuple[np.ndarray, np.ndarray]:
    with torch.no_grad():
        pairs = [(sim.reference_model(x), sim(x)) for x in batches]
    return tuple(torch.cat(side).double().numpy() for side in zip(*pairs, strict=True))


@pytest.mark.parametrize("shift", [0.0, 1e4], ids=["centred", "far from zero"])
def test_kurtosis_is_that_of_all_values_at_once(shift):
    parts = [draw(i, 5, 3, 11) ** 3 + shift for i in range(4)]
    found = Moments.of(parts[0])
    for part in parts[1:]:
        found = found.merge(Moments.of(part))
    values = torch.cat(parts).double().numpy()
    wanted = stats.kurtosis(values.transpose(1, 0, 2).reshape(3, -1), axis=1, fisher=False)
    assert np.allclose(found.kurtosis, wanted, rtol=1e-9)
    assert np.allclose(found.total().kurtosis, stats.kurtosis(values.ravel(), fisher=False), rtol=1e-9)
    assert np.allclose(found.energy, (values**2).sum((0, 2)), rtol=1e-12)


def test_kurtosis_of_known_distributions():
    even = torch.linspace(0, 1, 100_001, dtype=torch.float64).view(1, 1, -1)
    two = torch.tensor([-1.0, 1.0]).view(1, 1, -1)
    normal = torch.special.ndtri((torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000).view(1, 1, -1)
    for values, wanted in ((even, 1.8), (two, 1.0), (normal, 3.0)):
        assert Moments.of(values).kurtosis[0] == pytest.approx(wanted, rel=1e-3)
    assert math.isnan(Moments.of(torch.ones(1, 1, 5)).kurtosis[0])


@given(st.lists(st.integers(1, 40), min_size=1, max_size=5), st.floats(-50, 50), st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_masked_values_never_count_however_they_come(sizes, shift, seed):
    generator = torch.Generator().manual_seed(seed)
    parts = [torch.randn(n, 2, 3, generator=generator, dtype=torch.float64) + shift for n in sizes]
    keeps = [torch.rand(p.shape, generator=generator) < 0.6 for p in parts]
    found = Moments.of(parts[0], keeps[0])
    for part, keep in zip(parts[1:], keeps[1:], strict=True):
        found = found.merge(Moments.of(part, keep))
    for channel in range(2):
        values = torch.cat([p[:, channel][k[:, channel]] for p, k in zip(parts, keeps, strict=True)]).numpy()
        assert found.count[channel] == len(values)
        if len(values):
            assert found.mean[channel] == pytest.approx(values.mean(), rel=1e-9, abs=1e-9)
            assert found.fourth[channel] == pytest.approx(((values - values.mean()) ** 4).sum(), rel=1e-6, abs=1e-9)


@given(st.lists(st.lists(st.integers(-(10**6), 10**6).map(lambda i: i / 64), max_size=30), min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_a_streamed_histogram_counts_each_value_in_its_bin(parts):
    found = Values(1 << 12)
    for part in parts:
        found.update(torch.tensor(part, dtype=torch.float32))
    values = np.array([v for part in parts for v in part])
    bins = Even.over([found.ends] if found.ends else [], [] if found.exponent is None else [found.exponent])
    assert len(bins.edges) == BINS + 1
    if len(values) and np.ptp(values):
        assert bins.edges[0] <= values.min() and values.max() < bins.edges[-1]
        wanted = np.bincount(np.searchsorted(bins.edges, values, side="right") - 1, minlength=BINS)
        assert np.array_equal(bins.counts(found.values()), wanted)


def test_codes_are_counted_for_the_layer_and_each_channel():
    quantizer = Quantizer("x", Grid(4))
    quantizer.set_range(torch.tensor(-1.0), torch.tensor(2.0))
    x = quantizer(draw(0, 40, 3, 5) * torch.tensor([0.1, 0.5, 3.0]).view(1, 3, 1))
    found = Codes(quantizer)
    for part in x.split(7):
        found.update(part, None)
    levels, counts = np.unique(x.numpy(), return_counts=True)
    assert found.used == len(levels) <= 16
    assert found.used_by_channel.tolist() == [len(x[:, c].unique()) for c in range(3)]
    assert np.allclose(found.values()[0], levels) and np.array_equal(found.values()[1], counts)
    assert found.effective_bits == pytest.approx(stats.entropy(counts, base=2))


def test_codes_that_are_masked_are_not_counted():
    quantizer = Quantizer("x", Grid(3))
    quantizer.set_range(torch.tensor(0.0), torch.tensor(7.0))
    found, x = Codes(quantizer), torch.tensor([0.0, 3.0, 3.0, math.nan, 7.0]).view(1, 5, 1)
    found.update(x, torch.tensor([True, True, False, False, True]).view(1, 5, 1))
    assert found.counts.tolist() == [1, 0, 0, 1, 0, 0, 0, 1]
    assert found.used_by_channel.tolist() == [1, 1, 0, 0, 1]


def test_levels_of_too_many_channels_are_not_remembered(monkeypatch):
    monkeypatch.setattr(codes, "MOST_CELLS", 16 * 2)
    quantizer = Quantizer("x", Grid(4))
    quantizer.set_range(torch.tensor(-1.0), torch.tensor(2.0))
    found = Codes(quantizer)
    found.update(quantizer(draw(0, 9, 3, 1)), None)
    assert found.used_by_channel is None and found.counts.sum() == 27


def test_the_layer_against_numpy(sim, batches):
    found = profile_layers(sim, batches)["outer"]
    reference, simulated = outputs(sim, batches)
    assert found.kurtosis == pytest.approx(stats.kurtosis(reference.ravel(), fisher=False), rel=1e-6)
    levels, counts = np.unique(simulated, return_counts=True)
    assert (found.levels, found.levels_used) == (16, len(levels))
    assert found.effective_bits == pytest.approx(stats.entropy(counts, base=2)) and found.effective_bits <= 4
    for column, values in (("fp32", reference), ("quantsim", simulated), ("error", simulated - reference)):
        frame = found.distribution
        edges = [*frame.bin_left, frame.bin_right.iloc[-1]]
        assert np.abs(np.histogram(values, edges)[0] - frame[column]).sum() <= 2, column
        assert frame[column].sum() == values.size
    errors = found.errors
    wanted = np.histogram(simulated - reference, [*errors.bin_left, errors.bin_right.iloc[-1]])[0]
    assert tuple(errors.columns) == columns.ERRORS and np.abs(wanted - errors.error).sum() <= 2
    assert found.saturated_fraction == qnb.compare_layers(sim, batches).set_index("layer").saturated_fraction["outer"]
    assert found.saturated_fraction > 0.01


def test_each_channel_against_numpy(sim, batches):
    table = profile_layers(sim, batches)["outer"].channel_table
    reference, simulated = (x.reshape(-1, 5) for x in outputs(sim, batches))
    assert tuple(table.columns) == columns.CHANNEL_DISTRIBUTIONS and table.channel.tolist() == list(range(5))
    assert np.allclose(table.fp32_min, reference.min(0)) and np.allclose(table.fp32_max, reference.max(0))
    assert np.allclose(table["kurtosis"], stats.kurtosis(reference, axis=0, fisher=False), rtol=1e-6)
    db = 10 * np.log10((reference**2).sum(0) / ((simulated - reference) ** 2).sum(0))
    assert np.allclose(table.sqnr_db, db, atol=1e-4)
    assert table.levels_used.tolist() == [len(np.unique(simulated[:, c])) for c in range(5)]
    whole = profile_layers(sim, batches)["outer"].saturated_fraction
    assert table.saturated_fraction.mean() == pytest.approx(whole) and whole > 0


def test_each_token_against_numpy(sim, batches):
    short = [*batches, draw(9, 2, 3, 6)]
    found = profile_layers(sim, short)["outer"]
    assert tuple(found.tokens.columns) == columns.TOKENS and len(found.tokens) == 7
    pairs = [outputs(sim, [x]) for x in short]
    for token in (0, 5):
        here = [(r[:, token], s[:, token]) for r, s in pairs if r.shape[1] > token]
        reference, simulated = (np.concatenate(side).ravel() for side in zip(*here, strict=True))
        error, row = simulated - reference, found.tokens.iloc[token]
        assert row.sqnr_db == pytest.approx(10 * np.log10((reference**2).sum() / (error**2).sum()), abs=1e-4)
        assert row.mse == pytest.approx((error**2).mean(), rel=1e-5)
        assert row.fp32_max_abs == pytest.approx(np.abs(reference).max(), rel=1e-6)
        assert row.max_abs_error == pytest.approx(np.abs(error).max(), rel=1e-5)


def test_what_is_left_out_of_tables_is_said(sim, batches, monkeypatch):
    monkeypatch.setattr(channel_figures, "MOST", 3)
    found = profile_layers(sim, batches)["outer"]
    assert (len(found.channel_table), found.channels_left_out) == (3, 2)
    assert sorted(found.channels.channel[:3]) == found.channel_table.channel.tolist(), "those with the largest error"
    assert (len(found.tokens), found.tokens_left_out) == (3, 4)


def test_the_same_data_in_other_batches_give_the_same(sim, batches):
    one, many = profile_layers(sim, [torch.cat(batches)])["outer"], profile_layers(sim, batches)["outer"]
    assert one.distribution.equals(many.distribution) and one.levels_used == many.levels_used
    assert one.kurtosis == pytest.approx(many.kurtosis, rel=1e-9)
    assert np.allclose(one.channel_table, many.channel_table, rtol=1e-5)


def test_memory_does_not_grow_with_batches(sim, batches, monkeypatch):
    from qnb.measures.layers import profile

    kept = []

    class Watched(profile.Gatherer):
        def found(self):
            arrays = [self.reference.counts, self.errors.counts, self.codes.counts, self.codes._used, *self.pairs]
            arrays += [self.samples.rows, self.channels.sums, self.tokens.sums]
            kept.append(sum(a.size if isinstance(a, np.ndarray) else a.numel() for a in arrays))
            return super().found()

    monkeypatch.setattr(profile, "Gatherer", Watched)
    for repeat in (4, 12):
        profile_layers(sim, batches * repeat, ["outer"])
    assert kept[0] == kept[1]


@pytest.mark.parametrize("precision", ["fp16", "w8a16"])
def test_float_grids_have_no_levels(batches, precision):
    sim = qnb.QuantSim(Tokens().eval(), batches[0], precision).calibrate(batches)
    table = distributions(profile_layers(sim, batches))
    assert tuple(table.columns) == columns.DISTRIBUTIONS
    assert (table.levels.isna() & table.effective_bits.isna()).all() == (precision == "fp16")
    assert table["kurtosis"].notna().all()


def test_masked_scores_count_nowhere():
    x = draw(0, 2, 5, 24)
    mask = torch.zeros(2, 1, 5, 5)
    mask[..., 3:] = torch.finfo(torch.float32).min
    sim = qnb.QuantSim(Attention().eval(), (x, mask), "w8a8").calibrate([(x, mask)])
    masked = [g for g in sim.groups if sim.plan.activations[g.key].masked]
    assert masked
    for group in masked:
        found = profile_layers(sim, [(x, mask)])[group.layer]
        assert np.abs(found.distribution.bin_left).max() < 1e3 and found.kurtosis < 100
        assert found.channel_table.fp32_min.isna().tolist() == [False] * 3 + [True] * 2


def test_channels_that_change_from_batch_to_batch_are_no_channels():
    class Scores(nn.Module):
        def forward(self, x):
            return x @ x.transpose(1, 2)

    batches = [draw(0, 4, 6, 5), draw(1, 4, 9, 5)]
    sim = qnb.QuantSim(Scores().eval(), batches[0], "w8a8").calibrate(batches)
    found = next(reversed(profile_layers(sim, batches).values()))
    assert found.channels is None and found.channel_table is None
    values = torch.cat([(x @ x.transpose(1, 2)).flatten() for x in batches]).double().numpy()
    assert found.kurtosis == pytest.approx(stats.kurtosis(values, fisher=False), rel=1e-5)
