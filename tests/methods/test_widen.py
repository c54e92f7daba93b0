"""More bits for some layers, as a recovery method."""

import pytest
import torch
from torch import nn

import qnb
from qnb.errors import InputError, TargetError


def sim_of(precision="w8a8", target="generic"):
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4)).eval(), torch.randn(64, 8)
    return qnb.QuantSim(model, x, precision, target=target).calibrate([x]), x


def bits(sim, kind):
    return sim.encodings().query("kind == @kind").set_index("layer").bits.to_dict()


def test_outputs_get_more_bits_and_the_rest_stays():
    sim, x = sim_of()
    table = qnb.methods.widen(sim, [x], layers="2").table.set_index("layer")
    assert (table.bits_before["2"], table.bits_after["2"]) == (8, 16)
    assert bits(sim, "activation")["2"] == 16 and set(bits(sim, "weight").values()) == {8}
    assert sim.applied_methods == ("widen",) and bits(sim, "input") == bits(sim_of()[0], "input")


def test_it_computes_what_set_precision_does():
    (sim, x), (other, _) = sim_of(), sim_of()
    qnb.methods.widen(sim, [x], layers=["0", "2"], kind="weight")
    other.set_precision(["0", "2"], "w16a8")
    assert set(bits(sim, "weight").values()) == {16} and torch.equal(sim(x), other(x))


def test_a_layer_that_is_wide_already_stays_as_it_is():
    sim, x = sim_of("w8a16")
    before = sim(x)
    wide = bits(sim, "activation")
    qnb.methods.widen(sim, [x], layers="*")
    assert bits(sim, "activation") == wide and torch.equal(sim(x), before)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "no layers"),
        ({"layers": "2", "bits": 32}, "bits=32"),
        ({"layers": "2", "bits": 1}, "bits=1"),
        ({"layers": "2", "kind": "bias"}, "kind='bias'"),
        ({"layers": "nowhere"}, "nowhere"),
    ],
)
def test_bad_input_is_named_before_any_work(given, said):
    sim, x = sim_of()
    with pytest.raises(InputError, match=said):
        qnb.methods.widen(sim, [x], **given)
    assert sim.applied_methods == ()


def test_what_the_target_does_not_run_is_refused_and_the_sim_stays():
    sim, x = sim_of("w4a8", target="htp-v75")
    before = sim(x)
    with pytest.raises(TargetError, match="w16a8"):
        qnb.methods.widen(sim, [x], layers="2", kind="weight")
    assert torch.equal(sim(x), before) and sim.applied_methods == ()
