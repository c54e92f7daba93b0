"""What all methods share: order, undo, history, what a result says."""

import inspect

import pandas as pd
import pytest
import torch

import qnb
from qnb.errors import CalibrationError, InputError
from qnb.methods import METHODS, check_order
from qnb.methods.method import method
from qnb.methods.reporting.result import Found
from qnb.numerics import Grid
from tests.methods.states import CancelAfter, digits_sim, same, state


@pytest.fixture
def spoil():
    """A method that changes all there is to change, in several ways; gone after the test."""

    @method("spoil", "Spoil", "range")
    def spoil(sim, batches, *, wrong=False, seed=0, progress=None):
        """Change everything."""
        generator = torch.Generator().manual_seed(seed)
        for index, (key, site) in enumerate(sim.plan.weights.items()):
            progress(index, len(sim.plan.weights), "spoiling")
            sim.weight_tensor(key).data.add_(torch.randn((), generator=generator))
            sim.weight(key).scale.data.mul_(2)
            sim.weight(key).grid = Grid(3, True, "channel")
            progress.row(layer=site.layer, step=index, loss=float(index))
        sim.train()
        if wrong:
            raise ValueError("in the middle")
        sim.eval()
        return Found(pd.DataFrame({"layer": ["classifier"], "touched": [1]}), notes=("all is spoilt",))

    yield spoil
    METHODS.rows.pop("spoil")


@pytest.mark.parametrize("shared", [True, False])
def test_what_fails_leaves_the_sim_bit_for_bit_as_it_was(spoil, shared):
    sim, batches = digits_sim()
    if not shared:
        sim.own_tensors()
    before, output = state(sim), sim(batches[0])
    with pytest.raises(ValueError, match="in the middle"):
        spoil(sim, batches, wrong=True)
    assert same(before, state(sim)) and torch.equal(output, sim(batches[0]))
    calls = CancelAfter(7)
    with pytest.raises(qnb.errors.Cancelled):
        spoil(sim, batches, progress=calls)
    assert same(before, state(sim)) and torch.equal(output, sim(batches[0]))
    assert sim._shared is shared


def test_a_copy_and_the_users_model_stay_as_they_were(spoil):
    demo = qnb.demo.digits()
    weights = {k: v.clone() for k, v in demo.model.state_dict().items()}
    sim = qnb.QuantSim(demo.model, demo.calibration[0], "w4a8").calibrate(demo.calibration[:1])
    other = sim.copy()
    before = state(other)
    spoil(sim, demo.calibration[:1])
    assert same(before, state(other)) and not same(state(sim), before)
    assert all(torch.equal(v, demo.model.state_dict()[k]) for k, v in weights.items())


def test_a_result_says_what_was_done(spoil):
    sim, batches = digits_sim()
    rows = []
    progress = CancelAfter()
    progress.row = lambda **figures: rows.append(figures)
    result = spoil(sim, batches, progress=progress)
    assert list(result.table.columns) == [*qnb.columns.RECOVERY, "touched"]
    assert len(result.table) == len(sim.groups) and result.table.touched.sum() == 1
    assert len(result.history) == len(sim.plan.weights) == len(rows) and result.options == {"wrong": False, "seed": 0}
    assert result.output_after_db < result.output_before_db and "all is spoilt" in repr(result)
    assert sim.applied_methods == ("spoil",) and sim.copy().applied_methods == ("spoil",)
    assert qnb.QuantSim.load(_saved(sim)).applied_methods == ("spoil",)


def _saved(sim):
    import tempfile

    path = f"{tempfile.mkdtemp()}/sim.qnb"
    sim.save(path)
    return path


def test_an_uncalibrated_sim_is_refused(spoil):
    demo = qnb.demo.digits()
    with pytest.raises(CalibrationError, match="calibrate"):
        spoil(qnb.QuantSim(demo.model, demo.calibration[0], "w4a8"), demo.calibration[:1])


def test_batches_that_can_be_read_once_are_refused(spoil):
    sim, batches = digits_sim()
    with pytest.raises(InputError, match="one-shot"):
        spoil(sim, iter(batches))


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["adaround", "equalize"], "equalize, adaround"),
        (["adaround", "gptq"], "take one of"),
        (["correct_bias", "adaround"], "adaround, correct_bias"),
        (["adaround", "adaround"], "second time"),
        (["train", "equalize"], "equalize, train"),
        (["adaround", "seq_mse"], "seq_mse, adaround"),
    ],
)
def test_orders_that_undo_are_errors_with_the_right_one(names, says):
    with pytest.raises(InputError, match=says):
        check_order(names, "test")


def test_good_orders_pass():
    check_order(["equalize", "seq_mse", "adaround", "reestimate_batch_norm", "correct_bias", "train", "train"], "test")


def test_seeds_are_the_callers_own(spoil):
    sim, batches = digits_sim()
    torch.manual_seed(3)
    expected = torch.randn(())
    torch.manual_seed(3)
    spoil(sim, batches)
    assert torch.equal(torch.randn(()), expected)


def test_calibrating_again_leaves_what_was_chosen_for_the_weights():
    sim, batches = digits_sim()
    qnb.methods.seq_mse(sim, batches)
    qnb.methods.gptq(sim, batches)
    scales = {key: sim.weight(key).scale.clone() for key in sim.plan.weights}
    again = qnb.QuantSim.load(_saved(sim))
    for other in (sim, again):
        other.calibrate(batches, "mse")
        assert all(torch.equal(scales[key], other.weight(key).scale) for key in scales)


def test_another_precision_for_one_layer_leaves_the_others_as_they_were_rounded():
    sim, batches = digits_sim()
    qnb.methods.gptq(sim, batches)
    scales = {key: sim.weight(key).scale.clone() for key in sim.plan.weights}
    sim.set_precision("classifier", "w8a8")
    changed = [key for key in scales if not torch.equal(scales[key], sim.weight(key).scale)]
    assert changed == sim.plan.weights_of["classifier"]


CONTRACT = {
    "equalize": ("sim",),
    "correct_bias": ("sim", "batches"),
    "adaround": ("sim", "batches", "iterations"),
    "seq_mse": ("sim", "batches"),
    "choose_ranges": ("sim", "batches", "rules"),
    "widen": ("sim", "batches"),
    "reestimate_batch_norm": ("sim", "batches"),
    "smooth": ("sim", "batches"),
    "gptq": ("sim", "batches"),
    "mixed_precision": ("sim", "batches", "candidates", "budget"),
    "train": ("sim", "loader", "loss"),
    "scale_search": ("sim", "batches"),
}


def test_the_names_that_people_rely_on():
    assert set(METHODS) == set(CONTRACT)
    for name, arguments in CONTRACT.items():
        function = getattr(qnb.methods, name)
        assert METHODS[name].apply is function and set(arguments) <= set(inspect.signature(function).parameters)
