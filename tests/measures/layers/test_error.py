"""Error figures: the same however they are read, and read once."""

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import qnb
from qnb.measures.layers import error
from qnb.measures.layers.error import CHUNK, UNREAD, ErrorStats, NoiseStats, beyond


class Reads(TorchDispatchMode):
    """Counts what would wait for a GPU: values that Python is told."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.is_nonzero.default)
        return function(*args, **(kwargs or {}))


def pair(size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(size, generator=generator), torch.randn(size, generator=generator)


@pytest.fixture(params=[("cpu",), ()], ids=["read at once", "read late"], autouse=True)
def device(request, monkeypatch):
    """The processor, and what stands for a GPU."""
    monkeypatch.setattr(error, "READ_AT_ONCE", request.param)
    return request.param


def test_figures_are_sums_over_chunks_in_double():
    stats, noise, pairs = ErrorStats(), NoiseStats(), [pair(2 * CHUNK + 5, seed) for seed in range(UNREAD)]
    signal = lost = 0.0
    for reference, simulated in pairs:
        stats.update(reference.view(1, -1), simulated.view(1, -1))
        noise.update(reference, simulated)
        for a, b in zip(reference.split(CHUNK), simulated.split(CHUNK), strict=True):
            signal, lost = signal + float(torch.dot(a, a)), lost + float(torch.dot(b - a, b - a))
    assert (stats.signal, stats.noise, noise.noise) == (signal, lost, lost)
    both = [torch.cat(part) for part in zip(*pairs, strict=True)]
    assert stats.range == (float(both[0].min()), float(both[0].max())) and stats.numel == both[0].numel()
    assert stats.max_abs_error == float((both[1] - both[0]).abs().max())
    assert stats.cosine == pytest.approx(float(torch.cosine_similarity(*both, dim=0)), abs=1e-5)


@pytest.mark.parametrize("times", [1e-3, 0.1, -1.0, 1.0, 10.0, 1e3])
def test_the_cosine_is_right_where_one_side_is_far_larger(times):
    stats, (reference, simulated) = ErrorStats(), pair(CHUNK + 5, 0)
    stats.update(reference, times * simulated)
    true = float(torch.cosine_similarity(reference.double(), times * simulated.double(), dim=0))
    assert stats.cosine == pytest.approx(true, abs=5e-7 * max(abs(times), 1 / abs(times)))


def test_they_may_be_read_in_between():
    once, often = ErrorStats(), ErrorStats()
    for seed in range(5):
        for stats in (once, often):
            stats.update(*pair(100, seed))
        assert often.sqnr_db < 0 and often.range[0] < 0
    assert (once.sqnr_db, once.mse, once.cosine, once.range) == (often.sqnr_db, often.mse, often.cosine, often.range)


def test_on_a_gpu_updating_tells_python_nothing(device):
    stats, noise = ErrorStats(), NoiseStats()
    with Reads() as reads:
        for seed in range(2 * UNREAD):
            stats.update(*pair(100, seed))
            noise.update(*pair(100, seed))
    assert (reads.count == 0) == (not device) and not stats._unread and not noise._unread


def test_what_lies_beyond_a_range_is_counted_without_telling_python(device):
    x = torch.linspace(-2, 2, 41)
    sim = qnb.QuantSim(torch.nn.Flatten().eval(), x[None], "w8a8").calibrate([x.clamp(-1, 1)[None]])
    quantizer = sim.activation(next(iter(sim.plan.activations)))
    with Reads() as reads:
        found = beyond(x, quantizer)
    assert int(found) == 20 and int(beyond(x.clamp(-1, 1), quantizer)) == 0
    assert device or reads.count == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_overflows_is_infinitely_wrong(bad):
    reference, simulated = pair(100)
    stats, noise = ErrorStats(), NoiseStats()
    for part in (simulated, simulated.clone().fill_(bad), simulated):
        stats.update(reference, part)
        noise.update(reference, part)
    assert stats.noise == noise.noise == stats.max_abs_error == math.inf
    assert (stats.sqnr_db, stats.cosine) == (-math.inf, 0.0)
    assert stats.range == (float(reference.min()), float(reference.max()))


def test_nothing_seen():
    stats = ErrorStats()
    stats.update(torch.empty(0), torch.empty(0))
    assert (stats.sqnr_db, stats.mse, stats.cosine, stats.numel) == (math.inf, 0.0, 1.0, 0)
