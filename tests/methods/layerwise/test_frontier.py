"""The walk over both graphs gives what whole forward passes give."""

import pytest
import torch

import qnb
from qnb.methods.layerwise.frontier import Frontier
from qnb.methods.layerwise.layers import weighted_layers
from qnb.methods.layerwise.spill import Shelf
from tests.methods.states import digits_sim
from tests.models import transformers_zoo, zoo


def whole_walk(sim, batches, memory_bytes=2**30):
    """Outputs of the last layer's segment, FP32 and simulated, after stopping at every layer on the way."""
    walk = Frontier(sim, batches, memory_bytes=memory_bytes)
    for layer in weighted_layers(sim):
        walk.advance(layer.node)
    segment = walk.segment(weighted_layers(sim)[-1].group.output)
    with torch.no_grad():
        found = [(segment.target(i), segment.run(segment.values(i))) for i in range(segment.count)]
    return found, walk


def recorded(sim, batches, layer):
    """The same two values by whole forward passes."""
    found = []
    for batch in batches:
        qnb.compare_layers(sim, [batch], own=False, watch=lambda v: keep(v, layer, found))
    return found


def keep(values, layer, found):
    if values.group.layer == layer:
        found.append((values.reference.clone(), values.unclipped.clone()))


@pytest.mark.parametrize("memory_bytes", [2**30, 0])
def test_a_walk_gives_what_forward_passes_give(memory_bytes):
    sim, batches = digits_sim()
    found, walk = whole_walk(sim, batches, memory_bytes)
    expected = recorded(sim, batches, weighted_layers(sim)[-1].layer)
    for (target, value), (reference, simulated) in zip(found, expected, strict=True):
        assert torch.equal(target, reference)
        assert torch.equal(value, simulated)
    assert (walk.shelf.spilled_bytes > 0) == (memory_bytes == 0)


MODELS = {**zoo(), **transformers_zoo()}


@pytest.mark.parametrize("name", MODELS)
def test_every_model_can_be_walked(name):
    model, example = MODELS[name]
    sim = qnb.QuantSim(model, example, "w8a8").calibrate([example])
    found, _ = whole_walk(sim, [example])
    ((reference, _),) = recorded(sim, [example], weighted_layers(sim)[-1].layer)
    torch.testing.assert_close(found[0][0], reference)


def test_little_is_kept():
    sim, batches = digits_sim()
    _, walk = whole_walk(sim, batches)
    assert len(walk.simulated[0]) <= 2


def test_a_shelf_forgets_what_is_released():
    shelf, value = Shelf(100), torch.zeros(10)
    assert shelf.keep(value) is value and shelf.used_bytes == 40
    shelf.release(value)
    assert shelf.used_bytes == 0
