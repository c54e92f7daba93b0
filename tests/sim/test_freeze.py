"""Frozen layers keep their encodings, whatever else is done to the sim."""

import pytest
import torch
from torch import nn

import qnb
from qnb.errors import CalibrationError, FileError, InputError, PrecisionError
from qnb.methods.precision.candidates import layer_groups
from qnb.numerics import Precision

X = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def sim_of(precision="w4a8", freeze=()):
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten()
    model = nn.Sequential(*layers, nn.Linear(128, 4))
    model(X)
    sim = qnb.QuantSim(model.eval(), X, precision).calibrate([X])
    return sim.freeze(freeze) if freeze else sim


def kept(sim, layers):
    """What these layers' weights and outputs are quantized with; biases follow from their input's too."""
    found = sim.encodings()
    return found[found.layer.isin(layers) & (found.kind != "bias")].reset_index(drop=True)


def test_calibration_leaves_frozen_layers_alone():
    sim = sim_of(freeze="3")
    before, other = kept(sim, ["3"]), kept(sim, ["0"])
    sim.calibrate([3 * X], "mse")
    assert kept(sim, ["3"]).equals(before) and not kept(sim, ["0"]).equals(other)
    with torch.no_grad():
        sim.model.get_parameter("3.weight").mul_(2)
    sim.calibrate([X])
    assert kept(sim, ["3"]).equals(before)
    sim.unfreeze("3").calibrate([X])
    assert not kept(sim, ["3"]).equals(before)


def test_all_frozen_is_nothing_calibrated():
    sim = sim_of()
    before, output = sim.encodings(), sim(X)
    sim.freeze().calibrate([5 * X], "percentile")
    assert sim.encodings().equals(before) and torch.equal(sim(X), output)


def test_the_tables_have_the_same_columns():
    sim = sim_of()
    before = sim.layers(), sim.encodings()
    sim.freeze("3")
    assert sim.layers().equals(before[0]) and sim.encodings().equals(before[1])


def test_another_precision_is_refused_by_name():
    sim = sim_of(freeze="3")
    before = sim.encodings()
    for layers in ("3", "*", None):
        with pytest.raises(InputError, match=r"set_precision: layer '3', which freeze\(\) keeps.*unfreeze\('3'\)"):
            sim.set_precision(layers, "w8a8")
    assert sim.encodings().equals(before)
    assert kept(sim.set_precision("0", "w8a16"), ["3"]).equals(kept(sim_of(), ["3"]))


def test_they_may_be_switched_off_and_on():
    sim = sim_of(freeze="3")
    before = sim.encodings()
    assert not sim.disable("3").encodings().equals(before)
    assert sim.enable().encodings().equals(before)


def test_it_is_copied_saved_and_loaded(tmp_path):
    sim = sim_of(freeze="3")
    before = kept(sim, ["3"])
    sim.save(tmp_path / "sim")
    for other in (sim.copy(), sim.snapshot().copy(), qnb.QuantSim.load(tmp_path / "sim")):
        assert kept(other.calibrate([2 * X]), ["3"]).equals(before)
        assert not kept(other.unfreeze().calibrate([2 * X]), ["3"]).equals(before)
    assert sim.weight(sim.plan.weights_of["3"][0]).frozen


def test_what_has_no_range_is_not_frozen():
    sim = qnb.QuantSim(nn.Linear(3, 2).eval(), torch.ones(2, 3), "w8a8")
    with pytest.raises(CalibrationError, match=r"freeze: layer '.*' has no range yet.*calibrate"):
        sim.freeze()
    with pytest.raises(InputError, match="no layer matches 'conv'"):
        sim.freeze("conv")
    assert not any(q.frozen for q in sim.quantizers())


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("equalize", {}),
        ("smooth", {}),
        ("scale_search", {}),
        ("seq_mse", {"candidates": 8}),
        ("choose_ranges", {}),
        ("adaround", {"iterations": 20}),
        ("gptq", {}),
        ("reestimate_batch_norm", {}),
        ("correct_bias", {}),
    ],
)
@pytest.mark.parametrize("layer", ["0", "3", "6"])
def test_methods_leave_them_alone(name, options, layer):
    sim = sim_of(freeze=layer)
    before = kept(sim, [layer])
    getattr(qnb.methods, name)(sim, [X], **options)
    assert kept(sim, [layer]).equals(before)
    assert torch.isfinite(sim(X)).all()


@pytest.mark.parametrize("name", ["equalize", "smooth", "seq_mse", "reestimate_batch_norm"])
def test_where_all_are_frozen_methods_change_no_range(name):
    sim = sim_of().freeze()
    layers = list(sim.layers().layer)
    before = kept(sim, layers)
    getattr(qnb.methods, name)(sim, [X])
    assert kept(sim, layers).equals(before)


def test_training_learns_other_ranges_only():
    sim = sim_of(freeze="3")
    before, other = kept(sim, ["3"]), kept(sim, ["6"])
    qnb.methods.train(sim, [X, X], steps=4)
    assert kept(sim, ["3"]).equals(before) and not kept(sim, ["6"]).equals(other)


def test_a_search_of_precisions_moves_the_others():
    sim, candidates = sim_of(freeze="3"), [Precision.parse(p) for p in ("w8a16", "w4a8")]
    assert "3" not in {name for group in layer_groups(sim, candidates) for name in group.layers}
    with pytest.raises(PrecisionError, match="no layer on integer grids"):
        layer_groups(sim.freeze(), candidates)


def test_encodings_files_may_say_the_same_and_nothing_else(tmp_path):
    sim = sim_of(freeze="3")
    before = sim.encodings()
    qnb.export_encodings(sim, tmp_path / "same.json")
    assert sim.load_encodings(tmp_path / "same.json").encodings().equals(before)
    qnb.export_encodings(sim_of("w8a8"), tmp_path / "other.json")
    with pytest.raises(FileError, match="frozen.*unfreeze it or delete the entry"):
        sim.load_encodings(tmp_path / "other.json")
    assert sim.encodings().equals(before)
