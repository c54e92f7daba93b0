"""`sim.exact`: a copy that computes a runtime's codes; what it refuses; how close it is, layer by layer."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import qnb
from qnb.errors import CalibrationError, InputError, ModelAttributeError, PrecisionError
from qnb.export import export_onnx
from qnb.graph import capture
from qnb.measures import compare_layers
from qnb.runtimes import OnnxRuntime
from qnb.runtimes.fidelity import fidelity
from tests.models import Attention, MobileNetV2, ResNet20, UNet, images, warmed_up

TARGET, SOC = "htp-v75", "sm8650"
RUNTIMES = ("onnxruntime", "htp")


def quantized(model, batch, precision="w8a8", target=TARGET):
    return qnb.QuantSim(model, batch, precision, target=target).calibrate([batch])


@pytest.fixture(scope="module")
def small():
    """A captured network of a convolution and a linear layer, and a batch."""
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(128, 5)
    batch = torch.randn(4, 3, 4, 4)
    return capture(nn.Sequential(*layers).eval(), batch), batch


@pytest.fixture
def sim(small):
    return quantized(*small)


# A copy, fixed as it was.


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_it_is_a_copy(sim, small, runtime):
    batch, code = small[1], sim.graph_module.code
    targets = [n.target for n in sim.graph_module.graph.nodes]
    before, encodings = sim(batch), sim.encodings()
    exact = sim.exact(runtime)
    found = exact(batch)
    assert exact.layers_exact == ["0", "3"]
    assert torch.equal(sim(batch), before) and sim.encodings().equals(encodings)
    assert sim.graph_module.code == code and [n.target for n in sim.graph_module.graph.nodes] == targets
    sim.calibrate([batch * 3])
    assert torch.equal(exact(batch), found) and not torch.equal(sim(batch), before)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_same_numbers_again(sim, small, runtime):
    batch, exact = small[1], sim.exact(runtime)
    found = exact(batch)
    for again in (exact, exact.copy(), sim.exact(runtime), exact.exact(runtime)):
        assert torch.equal(again(batch), found)
    assert torch.equal(torch.cat([exact(x) for x in batch.split(1)]), found)
    assert runtime in repr(exact) and repr(exact.copy()) == repr(exact)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("calibrate", ([],)),
        ("set_precision", ("0", "w4a8")),
        ("enable", ()),
        ("disable", ("0",)),
        ("freeze", ("0",)),
        ("load_encodings", ("x.encodings",)),
        ("save", ("x.qsim",)),
    ],
)
def test_it_cannot_be_changed(sim, name, arguments):
    with pytest.raises(
        ModelAttributeError, match=f"^{name} of an exact simulation: .*change the QuantSim and call exact"
    ):
        getattr(sim.exact("htp"), name)(*arguments)


def test_it_has_nothing_that_changes_and_answers_all_else(sim, small):
    exact = sim.exact("htp")
    assert not isinstance(exact, qnb.QuantSim) and not hasattr(exact, "calibrate")
    assert exact.layers().equals(sim.layers()) and exact.encodings().equals(sim.encodings())
    assert (exact.target, exact.precision, exact.applied_methods) == (sim.target, sim.precision, ())
    assert exact.calibrated and torch.equal(exact.snapshot()(small[1]), exact(small[1]))
    with pytest.raises(InputError, match="an exact simulation, whose settings are fixed.*pass the QuantSim"):
        qnb.methods.correct_bias(exact, [small[1]])
    with pytest.raises(ModelAttributeError, match="ExactSim: it has no attribute 'classifier'"):
        exact.classifier()


# What it refuses.


def test_refuses_what_is_not_calibrated(small):
    with pytest.raises(CalibrationError, match="QuantSim.exact: the sim is not calibrated"):
        qnb.QuantSim(small[0], precision="w8a8").exact("htp")


def test_refuses_an_unknown_runtime(sim):
    with pytest.raises(InputError, match="runtime 'tflite'.*onnxruntime, htp"):
        sim.exact("tflite")


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_refuses_other_activations_by_name(sim, runtime):
    with pytest.raises(PrecisionError, match="layer '3' with uint16 activations.*w8a8"):
        sim.set_precision("3", "w8a16").exact(runtime)


def test_refuses_other_weights_by_name(sim):
    sim.set_precision("0", "w4a8")
    with pytest.raises(PrecisionError, match="layer '0' with int4 weights"):
        sim.exact("onnxruntime")
    assert sim.exact("htp").layers_exact == ["0", "3"]


@pytest.mark.parametrize(("kind", "what"), [("weight", "weights"), ("activation", "activations")])
def test_refuses_a_layer_that_is_switched_off(sim, kind, what):
    sim.disable("3", kind)
    with pytest.raises(PrecisionError, match=f"layer '3' with float {what}"):
        sim.exact("htp")


# Where a QuantSim is taken.


def test_comparing_layers_keeps_the_reference(sim, small):
    batches = [small[1]]
    plain, exact = compare_layers(sim, batches), compare_layers(sim.exact("htp"), batches)
    same = ["layer", "module", "op", "fp32_min", "fp32_max", "numel"]
    assert exact[same].equals(plain[same])
    assert (exact["sqnr_db"] - plain["sqnr_db"]).abs().max() < 1
    assert not exact["sqnr_db"].equals(plain["sqnr_db"])
    assert (exact["own_sqnr_db"] - plain["own_sqnr_db"]).abs().max() < 1
    assert torch.equal(sim.exact("htp").reference_model(batches[0]), sim.reference_model(batches[0]))


def test_an_evaluation_takes_it(digits):
    run = digits.runs["w8a8"]
    exact = run.sim.exact("onnxruntime")
    evaluate = qnb.demo.digits().evaluate
    assert abs(evaluate(exact).value - evaluate(run.sim).value) < 0.01


# How close it is.


def network(name):
    """A model and a batch."""
    torch.manual_seed(0)
    if name == "digits":
        demo = qnb.demo.digits()
        return demo.model, demo.calibration[0][:4]
    if name == "attention":
        return Attention().eval(), torch.randn(4, 6, 24)
    batch = images()
    return warmed_up({"resnet20": ResNet20, "mobilenet_v2": MobileNetV2, "unet": UNet}[name](), batch), batch


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """``written(name, precision)`` -> (sim, file with integer ends, batch)."""
    folder, made = tmp_path_factory.mktemp("files"), {}

    def write(name, precision="w8a8"):
        if (name, precision) not in made:
            model, batch = network(name)
            # With HTP's tied resize values lie halfway between codes, and the order of float32 sums decides.
            target = "onnxruntime-cpu" if name == "unet" else TARGET
            sim = quantized(model, batch, precision, target)
            path = export_onnx(sim, folder / f"{name}_{precision}.onnx", batch=1, integer_io=True)
            made[name, precision] = sim, path, batch
        return made[name, precision]

    return write


def agreement(sim, runtime, batch):
    """What fidelity says of the quantized layers and outputs."""
    return fidelity(sim, runtime, [batch]).dropna(subset="equal_fraction")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["digits", "resnet20", "mobilenet_v2", "unet", "attention"])
def test_networks_on_onnxruntime(written, name):
    sim, path, batch = written(name)
    table = agreement(sim.exact("onnxruntime"), OnnxRuntime(path, threads=1), batch)
    assert len(table) > len(sim.groups) and table["max_steps"].max() <= 1
    assert table["equal_fraction"].min() >= 0.999


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "precision"), [("digits", "w8a8"), ("digits", "w4a8"), ("resnet20", "w8a8"), ("mobilenet_v2", "w8a8")]
)
def test_networks_on_htp(htp, written, name, precision):
    sim, path, batch = written(name, precision)
    batch, runtime = batch[:2], htp(path, SOC, threads=1)
    table, plain = agreement(sim.exact("htp"), runtime, batch), agreement(sim, runtime, batch)
    assert table["equal_fraction"].min() >= 0.999 and table["max_steps"].max() <= 1
    assert table["sqnr_db"].min() >= 45 > plain["sqnr_db"].min()


LAYERS = {
    "silu": lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.SiLU()),
    "transposed": lambda: nn.Sequential(nn.ConvTranspose2d(3, 8, 3, 2, 1), nn.ReLU()),
    "average pools": lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.AvgPool2d(2), nn.AvgPool2d(3, 1)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_on_htp(htp, tmp_path, name):
    torch.manual_seed(0)
    batch = torch.randn(4, 3, 16, 16)
    sim = quantized(LAYERS[name]().eval(), batch)
    runtime = htp(export_onnx(sim, tmp_path / "m.onnx", batch=1, integer_io=True), SOC, threads=1)
    exact = sim.exact("htp")
    assert exact.layers_exact == [g.layer for g in sim.groups]
    assert (
        agreement(exact, runtime, batch)["equal_fraction"].min()
        >= 0.999
        > agreement(sim, runtime, batch)["equal_fraction"].min()
    )


@pytest.mark.slow
def test_attention_on_htp(htp, written):
    """Softmax and layer norm have no integer rule there: their steps go on from layer to layer."""
    sim, path, batch = written("attention")
    table = agreement(sim.exact("htp"), htp(path, SOC, threads=1), batch).set_index("layer")
    assert table.loc[:"softmax", "equal_fraction"].iloc[:-1].min() >= 0.999
    assert table["within_one_fraction"].min() >= 0.9 and table["sqnr_db"].min() >= 36


class Stack(nn.Module):
    """Layers drawn one after another; ``add``: one whose input is added to its output."""

    def __init__(self, kinds, channels):
        super().__init__()
        self.first = nn.Conv2d(3, channels, 3, padding=1)
        makers = {
            "conv": lambda: nn.Conv2d(channels, channels, 3, padding=1),
            "pointwise": lambda: nn.Sequential(nn.Conv2d(channels, channels, 1, bias=False), nn.ReLU()),
            "depthwise": lambda: nn.Sequential(nn.Conv2d(channels, channels, 3, 1, 1, groups=channels), nn.ReLU6()),
            "strided": lambda: nn.Conv2d(channels, channels, 3, 2, 1, groups=channels),
            "add": lambda: nn.Conv2d(channels, channels, 1),
            "pool": lambda: nn.MaxPool2d(2, 1),
        }
        self.kinds, self.layers = kinds, nn.ModuleList([makers[kind]() for kind in kinds])
        self.last = nn.Linear(channels, 5)

    def forward(self, x):
        x = torch.relu(self.first(x))
        for kind, layer in zip(self.kinds, self.layers, strict=True):
            x = x + layer(x) if kind == "add" else layer(x)
        return self.last(x.mean((2, 3)))


STACKS = {
    "kinds": st.lists(st.sampled_from(["conv", "pointwise", "depthwise", "strided", "add", "pool"]), max_size=3),
    "channels": st.sampled_from([4, 7, 16]),
    "seed": st.integers(0, 2**16),
}
QUIET = {
    "deadline": None,
    "derandomize": True,
    "database": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}


def stack_agreement(kinds, channels, seed, runtime, open_, folder):
    torch.manual_seed(seed)
    batch = torch.randn(2, 3, 9, 9)
    sim = quantized(Stack(kinds, channels).eval(), batch)
    path = export_onnx(sim, folder / "stack.onnx", batch=1, integer_io=True)
    return agreement(sim.exact(runtime), open_(path), batch)


def total_equal(table):
    return (table["equal_fraction"] * table["numel"]).sum() / table["numel"].sum()


@pytest.mark.slow
@settings(max_examples=5, **QUIET)
@given(**STACKS)
def test_any_stack_on_onnxruntime(tmp_path, kinds, channels, seed):
    table = stack_agreement(kinds, channels, seed, "onnxruntime", lambda path: OnnxRuntime(path, threads=1), tmp_path)
    assert total_equal(table) >= 0.999 and table["max_steps"].max() <= 1


@pytest.mark.slow
@settings(max_examples=3, **QUIET)
@given(**STACKS)
def test_any_stack_on_htp(htp, tmp_path, kinds, channels, seed):
    table = stack_agreement(kinds, channels, seed, "htp", lambda path: htp(path, SOC, threads=1), tmp_path)
    assert total_equal(table) >= 0.999 and table["max_steps"].max() <= 1
