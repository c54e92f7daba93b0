"""QuantSim as its users meet it: calibration, switches, copies, files, errors."""

import copy

import pytest
import torch
from torch import nn

import qnb
from qnb.errors import CalibrationError, FileError, InputError, ModelAttributeError, PrecisionError


def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, groups=8, padding=1),
        nn.ReLU6(),
        nn.Flatten(),
        nn.Linear(128, 5),
    ).eval()


@pytest.fixture
def batches():
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(4, 3, 4, 4, generator=generator) for _ in range(3)]


@pytest.fixture
def sim(batches):
    return qnb.QuantSim(net(), batches[0], "w8a8").calibrate(batches)


def sqnr(reference, other):
    return 10 * torch.log10(reference.square().sum() / (other - reference).square().sum())


@pytest.mark.parametrize("precision, least", [("w16a16", 70), ("w8a16", 30), ("w8a8", 25), ("w4a8", 5), ("fp16", 60)])
def test_error_falls_with_bits(batches, precision, least):
    model = net()
    sim = qnb.QuantSim(model, batches[0], precision).calibrate(batches)
    assert sqnr(model(batches[0]), sim(batches[0])) > least


def test_disabled_sim_equals_fp32(sim, batches):
    sim.disable()
    assert torch.allclose(sim(batches[0]), net()(batches[0]), atol=1e-5)
    assert torch.equal(sim(batches[0]), sim.reference_model(batches[0]))
    sim.enable(kind="weight")
    assert not torch.equal(sim(batches[0]), sim.reference_model(batches[0]))


def test_user_model_is_never_changed(batches):
    model = net()
    model.register_forward_hook(lambda m, i, o: None)
    before = copy.deepcopy(model.state_dict())
    sim = qnb.QuantSim(model, batches[0], "w4a8").calibrate(batches)
    optimizer = torch.optim.SGD([p for p in sim.model.parameters() if p.requires_grad], 0.1)
    sim.train()(batches[0]).square().sum().backward()
    optimizer.step()
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert not model.training and len(model._forward_hooks) == 1
    assert torch.allclose(sim.reference(batches[0])[0], model(batches[0]), atol=1e-5)


def test_training_reaches_the_weights_through_the_quantizers(sim, batches):
    sim.train()(batches[0]).sum().backward()
    assert all(p.grad is not None for n, p in sim.named_parameters() if p.requires_grad and "weight" in n)


def test_eval_after_a_weight_change_is_not_stale(sim, batches):
    with torch.no_grad():
        before = sim(batches[0])
        sim.model.get_parameter("6.weight").mul_(0.5)
        after = sim(batches[0])
    assert not torch.equal(before, after)


def test_grad_and_no_grad_give_the_same_numbers(sim, batches):
    with torch.no_grad():
        fast = sim(batches[0])
    assert torch.equal(fast, sim(batches[0]).detach())


def test_inputs_are_never_overwritten(sim, batches):
    x = batches[0].clone()
    with torch.no_grad():
        sim(x)
    assert torch.equal(x, batches[0])


def test_calibration_does_not_depend_on_how_data_is_batched(batches):
    whole = qnb.QuantSim(net(), batches[0], "w8a8").calibrate([torch.cat(batches)]).encodings()
    parts = qnb.QuantSim(net(), batches[0], "w8a8").calibrate(batches).encodings()
    for a, b in zip(whole.scale, parts.scale, strict=True):
        assert a == pytest.approx(b, rel=1e-5)


@pytest.mark.parametrize("method", ["minmax", "percentile", "sqnr", "mse"])
def test_every_range_rule_calibrates(batches, method):
    sim = qnb.QuantSim(net(), batches[0], "w8a8").calibrate(batches, method)
    assert sqnr(sim.reference_model(batches[0]), sim(batches[0])) > 15


def test_set_precision_takes_names_globs_and_lists(sim, batches):
    table = sim.set_precision("6", "w4a16").layers().set_index("layer")
    assert (table.weight_bits["6"], table.activation_bits["6"]) == (4, 16)
    assert (table.weight_bits["0"], table.activation_bits["0"]) == (8, 8)
    assert sim.calibrated and torch.isfinite(sim(batches[0])).all()
    sim.set_precision(["0", "3*"], "w4a8")
    assert list(sim.layers().weight_bits) == [4, 4, 4]


def test_set_precision_there_and_back_gives_the_same_encodings(sim):
    before = sim.encodings()
    sim.set_precision(None, "w4a4").set_precision(None, "w8a8")
    assert sim.encodings().equals(before)


def test_copy_is_independent(sim, batches):
    other = sim.copy().set_precision(None, "w4a4")
    assert not torch.equal(other(batches[0]), sim(batches[0]))
    assert sim.layers().weight_bits.max() == 8
    again = sim.copy()
    assert torch.equal(again(batches[0]), sim(batches[0]))
    with torch.no_grad():
        again.model.get_parameter("6.weight").zero_()
    assert not torch.equal(again(batches[0]), sim(batches[0]))


def test_deepcopy_gives_the_same_numbers(sim, batches):
    assert torch.equal(copy.deepcopy(sim)(batches[0]), sim(batches[0]))


@pytest.mark.slow
def test_torch_compile_gives_the_same_numbers(sim, batches):
    with torch.no_grad():
        compiled = torch.compile(sim.graph_module)(batches[0])[0]
        torch.testing.assert_close(compiled, sim(batches[0]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "precision",
    [
        "fp8_e4m3",
        "bf16",
        "w2a16",
        qnb.Precision(qnb.Grid(4, True, "block", 4), qnb.Grid(8)),
        qnb.Precision(qnb.Grid(8, True), qnb.Grid(8, True)),
        qnb.Precision(qnb.Grid(8, True, "channel"), None),
    ],
    ids=str,
)
def test_other_precisions_run_copy_and_load(batches, precision, tmp_path):
    sim = qnb.QuantSim(net(), batches[0], precision).calibrate(batches)
    sim.save(tmp_path / "sim")
    for other in (sim.copy(), qnb.QuantSim.load(tmp_path / "sim")):
        assert torch.equal(other(batches[0]), sim(batches[0])) and other.encodings().equals(sim.encodings())


def test_copies_share_weights_until_written(sim):
    other = sim.copy()
    assert other.tensors()["6.weight"].data_ptr() == sim.tensors()["6.weight"].data_ptr()
    next(other.parameters())
    assert other.tensors()["6.weight"].data_ptr() != sim.tensors()["6.weight"].data_ptr()


def test_bias_guard_keeps_codes_inside_int32(batches):
    from qnb.sim.calibration import INT32_LIMIT, largest_bias_code

    model = net()
    with torch.no_grad():
        model[6].weight.mul_(1e-5)
        model[6].bias.fill_(1000.0)
    sim = qnb.QuantSim(model, batches[0], "w16a16").calibrate(batches)
    assert max(largest_bias_code(sim, key) for key in sim.plan.biases) <= INT32_LIMIT


def test_bias_simulation_can_be_switched(batches):
    on = qnb.QuantSim(net(), batches[0], "w8a8")
    off = qnb.QuantSim(net(), batches[0], "w8a8", simulate_bias=False).calibrate(batches)
    assert "bias" in set(on.calibrate(batches).encodings().kind) and "bias" not in set(off.encodings().kind)


class TestFiles:
    def test_round_trip(self, sim, batches, tmp_path):
        sim.set_precision("6", "w4a16").disable("0", kind="weight")
        sim.save(tmp_path / "sim.qnb")
        again = qnb.QuantSim.load(tmp_path / "sim.qnb")
        assert torch.equal(again(batches[0]), sim(batches[0]))
        assert again.encodings().equals(sim.encodings())
        assert [p.name for p in tmp_path.iterdir()] == ["sim.qnb"]

    def test_trained_weights_are_kept(self, sim, batches, tmp_path):
        with torch.no_grad():
            sim.model.get_parameter("6.weight").mul_(0.9)
        sim.save(tmp_path / "sim.qnb")
        again = qnb.QuantSim.load(tmp_path / "sim.qnb")
        assert torch.equal(again(batches[0]), sim(batches[0]))
        assert torch.equal(again.reference_model(batches[0]), sim.reference_model(batches[0]))

    @pytest.mark.parametrize("damage", ["cut", "foreign", "empty", "missing", "flip"])
    def test_damaged_files_are_named(self, sim, tmp_path, damage):
        path = tmp_path / "sim.qnb"
        sim.save(path)
        data = path.read_bytes()
        if damage == "missing":
            path.unlink()
        else:
            changed = {"cut": data[: len(data) // 2], "foreign": b"PK\x03\x04 something else", "empty": b""}
            path.write_bytes(changed.get(damage, data[:9] + b"\xff" + data[10:]))
        with pytest.raises(FileError, match="To fix"):
            qnb.QuantSim.load(path)

    def test_a_failed_save_leaves_the_old_file(self, sim, tmp_path, monkeypatch):
        path = tmp_path / "sim.qnb"
        path.write_bytes(b"old")
        monkeypatch.setattr("os.replace", lambda *a: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(FileError, match="disk full"):
            sim.save(path)
        assert path.read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == ["sim.qnb"]


class TestErrors:
    def test_not_calibrated(self, batches):
        with pytest.raises(CalibrationError, match="calibrate"):
            qnb.QuantSim(net(), batches[0])(batches[0])

    def test_empty_loader(self, batches):
        with pytest.raises((CalibrationError, InputError), match="(?i)empty|no batch"):
            qnb.QuantSim(net(), batches[0]).calibrate([])

    def test_one_shot_generator(self, batches):
        with pytest.raises(InputError, match="generator|once"):
            qnb.QuantSim(net(), batches[0]).calibrate(b for b in batches)

    def test_labels_passed_as_inputs(self, batches):
        labelled = [(b, torch.zeros(4, dtype=torch.long)) for b in batches]
        with pytest.raises(InputError, match=r"qnb\.inputs"):
            qnb.QuantSim(net(), batches[0]).calibrate(labelled)
        qnb.QuantSim(net(), batches[0]).calibrate(qnb.inputs(labelled))

    def test_wrong_shape_and_dtype(self, sim, batches):
        with pytest.raises(InputError, match="shape|channels|dimension|size"):
            sim(torch.randn(4, 5, 4, 4))
        with pytest.raises(InputError, match="dtype|float"):
            sim(torch.ones(4, 3, 4, 4, dtype=torch.long))

    def test_nan_data_names_layer_and_batch(self, batches):
        bad = [batches[0], batches[1].clone().fill_(float("nan"))]
        sim = qnb.QuantSim(net(), batches[0])
        with pytest.raises(CalibrationError, match="batch 1"):
            sim.calibrate(bad)
        assert not sim.calibrated, "a failed calibration left encodings behind"

    def test_failed_recalibration_changes_nothing(self, sim, batches):
        before = sim.encodings()
        with pytest.raises(CalibrationError):
            sim.calibrate([batches[0].clone().fill_(float("inf"))])
        assert sim.encodings().equals(before)

    def test_training_mode(self, batches):
        with pytest.raises(InputError, match=r"eval\(\)"):
            qnb.QuantSim(net().train(), batches[0])

    def test_unknown_precision(self, batches):
        with pytest.raises(PrecisionError, match="w8a16"):
            qnb.QuantSim(net(), batches[0], "w8b8")

    def test_other_device(self, batches):
        with pytest.raises(InputError, match="device|meta"):
            qnb.QuantSim(net(), batches[0].to("meta"))

    def test_unknown_layer_suggests(self, sim):
        with pytest.raises(InputError, match="no layer"):
            sim.set_precision("backbone", "w8a8")

    def test_attributes_of_the_users_class(self, sim):
        with pytest.raises(ModelAttributeError, match="classes"):
            sim.classes  # noqa: B018


def test_cancel_during_calibration_leaves_the_sim_as_it_was(sim, batches):
    from qnb.errors import Cancelled

    before = sim.encodings()

    def stop(done, total, message=""):
        raise Cancelled()

    with pytest.raises(Cancelled):
        sim.calibrate(batches, "mse", progress=stop)
    assert sim.encodings().equals(before)


def test_it_shows_in_a_cell(sim):
    assert "w8a8" in repr(sim) and "calibrated" in repr(sim)
    html = sim._repr_html_()
    assert "<script" not in html and "htp-v75" in html


class Buffered(torch.nn.Module):
    """No parameters at all."""

    def __init__(self):
        super().__init__()
        self.register_buffer("factor", torch.arange(4.0))

    def forward(self, x):
        return torch.relu(x * self.factor)


@pytest.mark.parametrize("make", [lambda: torch.nn.Linear(4, 2), Buffered], ids=["parameters", "buffers"])
def test_the_reference_is_where_the_sim_is(make):
    model, x = make().eval(), torch.randn(8, 4)
    sim = qnb.QuantSim(model, x, "w8a8").calibrate([x])
    assert torch.equal(sim.reference_model(x), model(x)) and sim.reference is sim.captured.module
    sim.to("meta")
    assert sim.reference_model(x.to("meta")).device.type == "meta" and sim.reference_model.device.type == "meta"
    assert sim.reference is sim.reference, "moved once"
    assert next(iter(model.state_dict().values())).device.type == "cpu"
    assert torch.equal(qnb.QuantSim(sim.captured, precision="w8a8").reference_model(x), model(x))
