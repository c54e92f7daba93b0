"""Training on a GPU: the sim comes back to where it was."""

import pytest
import torch

import qnb
from qnb.methods.train import train
from tests.methods.states import CancelAfter, digits_sim, same, state
from tests.models import zoo

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def test_it_trains_on_the_gpu_and_comes_back():
    sim, batches = digits_sim("w4a4", batches=4)
    demo = qnb.demo.digits()
    result = train(sim, batches, steps=30, evaluate=demo.evaluate)
    assert sim.device.type == "cpu" and all(p.device.type == "cpu" for p in sim.reference.parameters())
    assert result.history.loss[-6:].mean() < result.history.loss[:6].mean()
    sim.set_precision(None, "w8a8")
    assert sim(batches[0]).device.type == "cpu"


def test_a_recurrent_model_trains_on_the_gpu():
    model, batch = zoo()["lstm"]
    sim = qnb.QuantSim(model, batch, "w8a8").calibrate([batch])
    assert train(sim, [batch], steps=2).history.loss.notna().all()


def test_a_cancel_on_the_gpu_leaves_the_sim_on_the_cpu_as_it_was():
    sim, batches = digits_sim("w4a4")
    before = state(sim)
    with pytest.raises(qnb.errors.Cancelled):
        train(sim, batches, steps=6, device="cuda", progress=CancelAfter(9))
    assert same(before, state(sim)) and sim.device.type == "cpu"


def test_a_checkpoint_goes_from_one_device_to_another(tmp_path):
    sim, batches = digits_sim("w4a4")
    with pytest.raises(qnb.errors.Cancelled):
        train(sim, batches, steps=6, device="cuda", checkpoint=tmp_path / "c", progress=CancelAfter(12))
    assert len(train(sim, batches, steps=6, device="cpu", checkpoint=tmp_path / "c").history) == 6
