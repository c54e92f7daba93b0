"""A quantizer's state, taken and put back, is the same whatever was changed in between."""

import pickle
from dataclasses import fields

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import qnb
from qnb.numerics import FloatGrid, Grid
from qnb.ranges import MinMax
from qnb.sim.quantizer import BiasQuantizer, Quantizer, WeightQuantizer
from qnb.sim.quantizer_state import QuantizerState, quantizer_modules, unchanged_on_error

GRIDS = [None, FloatGrid("fp16"), Grid(8), Grid(4, True, "channel"), Grid(4, True, "block", 2)]


@st.composite
def states(draw) -> QuantizerState:
    shape = draw(st.sampled_from([(), (3,), (3, 2)]))
    ends, encoding = draw(st.booleans()), draw(st.booleans())
    numbers = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    tensor = lambda: torch.rand(shape, generator=numbers) + 0.1  # noqa: E731
    return QuantizerState(
        enabled=draw(st.booleans()),
        grid=draw(st.sampled_from(GRIDS)),
        axis=draw(st.sampled_from([None, 0, 1])),
        scale=torch.nn.Parameter(tensor(), draw(st.booleans())) if encoding else None,
        zero_point=torch.nn.Parameter(tensor(), False) if encoding else None,
        minimum=-tensor() if ends else None,
        maximum=tensor() if ends else None,
        statistics=draw(st.sampled_from([None, MinMax()])),
        rule=draw(st.sampled_from([None, ("minmax", {}), ("percentile", {"percentile": 99.9})])),
        frozen=draw(st.booleans()),
    )


@settings(deadline=None)
@given(first=states(), second=states(), kind=st.sampled_from([Quantizer, WeightQuantizer]))
def test_what_is_taken_and_put_back_is_the_same(first, second, kind):
    quantizer = kind("x", Grid(8))
    first.restore(quantizer)
    taken, parts = QuantizerState.of(quantizer), {f.name: getattr(quantizer, f.name) for f in fields(first)}
    assert taken == first
    second.put(quantizer)
    assert QuantizerState.of(quantizer) == second
    taken.restore(quantizer)
    assert all(getattr(quantizer, name) is value for name, value in parts.items())


@given(st.booleans(), st.booleans())
def test_of_a_bias_it_is_whether_it_is_on(first, second):
    bias = BiasQuantizer("b", Quantizer("x", Grid(8)), WeightQuantizer("w", Grid(8)), 1.0)
    bias.enabled = first
    taken = QuantizerState.of(bias)
    QuantizerState(second).put(bias)
    assert bias.enabled is second
    taken.restore(bias)
    assert bias.enabled is first and taken == QuantizerState(first)


@given(states())
def test_the_plain_form_pickles_and_says_what_a_forward_pass_depends_on(state):
    plain = pickle.loads(pickle.dumps(state.plain()))
    assert plain == state.plain() and plain.minimum is None
    quantizer = Quantizer("x", Grid(8))
    plain.put(quantizer)
    assert QuantizerState.of(quantizer).plain() == plain


def test_every_field_tells_two_states_apart():
    state = QuantizerState(True, Grid(8), 0, *torch.ones(4, 1), MinMax(), ("minmax", {}), True)
    others = QuantizerState(False, Grid(4), 1, *torch.zeros(4, 1), MinMax(), ("mse", {}), False)
    for field in fields(state):
        values = {f.name: getattr(others if f is field else state, f.name) for f in fields(state)}
        assert QuantizerState(**values) != state


def test_another_quantizer_gets_tensors_of_its_own():
    one, other = Quantizer("x", Grid(8)), Quantizer("y", Grid(4))
    one.set_range(torch.tensor(-1.0), torch.tensor(1.0))
    QuantizerState.of(one).put(other)
    with torch.no_grad():
        other.scale.mul_(2)
    assert float(other.scale) == 2 * float(one.scale)


def test_an_error_leaves_all_quantizers_as_they_were():
    model = torch.nn.Sequential(torch.nn.Conv2d(2, 4, 3), torch.nn.ReLU()).eval()
    x = torch.randn(2, 2, 6, 6)
    sim = qnb.QuantSim(model, x, "w4a8").calibrate([x])
    before = {name: QuantizerState.of(m) for name, m in quantizer_modules(sim).items()}
    with pytest.raises(RuntimeError), unchanged_on_error(sim):
        sim.set_precision("0", "w8a16").disable().calibrate([2 * x], "mse")
        raise RuntimeError
    assert {name: QuantizerState.of(m) for name, m in quantizer_modules(sim).items()} == before
