"""Streaming statistics: the data decide, not how they came; nothing of them is kept."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qnb.errors import CalibrationError, InputError
from qnb.ranges.histogram import Histogram
from qnb.ranges.statistics import MinMax

values = st.lists(st.floats(-1e6, 1e6, width=32).filter(lambda v: v == 0 or abs(v) > 1e-6), min_size=1, max_size=60)


def fed(kind, parts, **options):
    statistics = kind(**options)
    for part in parts:
        statistics.update(torch.as_tensor(part, dtype=torch.float32))
    return statistics


@settings(max_examples=60, deadline=None, derandomize=True)
@given(values, st.data())
def test_batches_do_not_matter(numbers, data):
    cut = data.draw(st.integers(0, len(numbers)))
    for kind in (MinMax, Histogram):
        whole, parts = fed(kind, [numbers]), fed(kind, [numbers[:cut], numbers[cut:]])
        backwards = fed(kind, [numbers[cut:], numbers[:cut]])
        for other in (parts, backwards):
            assert torch.equal(whole.min, other.min) and torch.equal(whole.max, other.max)
            assert whole.count == other.count
            if kind is Histogram:
                assert torch.equal(whole.counts, other.counts) and torch.equal(whole.width, other.width)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(values)
def test_a_histogram_counts_every_value_once(numbers):
    histogram = fed(Histogram, [numbers], bins=64)
    assert int(histogram.counts.sum()) == len(numbers)
    bins = histogram.bins(16)
    assert float(bins.counts.sum()) == pytest.approx(len(numbers))


def test_memory_does_not_grow_with_the_data():
    histogram = Histogram()
    sizes = set()
    for i in range(20):
        histogram.update(torch.randn(10_000, generator=torch.Generator().manual_seed(i)) * 2.0**i)
        sizes.add(histogram.counts.numel())
    assert sizes == {2**14}


def test_a_row_per_channel_and_block():
    x = torch.arange(24.0).reshape(2, 12)
    per_channel = fed(MinMax, [x], axis=0)
    assert per_channel.min.tolist() == [0, 12] and per_channel.max.tolist() == [11, 23]
    blocks = fed(MinMax, [x], axis=1, block_size=4)
    assert blocks.max.tolist() == [[3, 7, 11], [15, 19, 23]]


def test_empty_updates_change_nothing():
    statistics = fed(Histogram, [[1.0, 2.0], []])
    assert statistics.count == 2 and float(statistics.min) == 1


def test_nothing_seen():
    with pytest.raises(CalibrationError, match="no data"):
        _ = MinMax().min


def test_another_shape():
    statistics = MinMax(axis=0)
    statistics.update(torch.ones(3, 2))
    with pytest.raises(InputError, match=r"\(4,\) after \(3,\)"):
        statistics.update(torch.ones(4, 2))


@pytest.mark.parametrize("value", [1e-30, 1e30, 0.0, -7.5])
def test_extreme_and_constant_values(value):
    histogram = fed(Histogram, [[value] * 5, [value]])
    assert float(histogram.min) == pytest.approx(value) == float(histogram.max) and int(histogram.counts.sum()) == 6
