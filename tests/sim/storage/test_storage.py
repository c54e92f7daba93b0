"""Files of sims: what comes back, what older versions wrote, and that nothing else is accepted."""

from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import nn

import qnb
from qnb import targets, tensor_file
from qnb.errors import FileError
from qnb.numerics import Grid, Precision
from qnb.sim import storage

BATCHES = [torch.randn(8, 8, generator=torch.Generator().manual_seed(i)) for i in range(2)]
TARGET = replace(
    targets.get("generic"),
    name="mine",
    description="of my own",
    simulate_bias=True,
    fixed_ranges={"tanh": (-1.0, 1.0)},
    notes={"w8a8": "fast"},
)


def sim_of(precision="w8a8", method="minmax", target="htp-v75", **options):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 4)).eval()
    return qnb.QuantSim(model, BATCHES[0], precision, target=target).calibrate(BATCHES, method, **options)


def again(sim):
    return storage.loads(qnb.QuantSim, storage.dumps(sim))


def test_a_target_of_ones_own_comes_back(tmp_path):
    sim = sim_of(target=TARGET)
    sim.save(tmp_path / "sim")
    loaded = qnb.QuantSim.load(tmp_path / "sim")
    assert loaded.target == TARGET and "mine" not in targets.TARGETS
    assert torch.equal(loaded(BATCHES[0]), sim(BATCHES[0])) and loaded.encodings().equals(sim.encodings())


def test_a_registered_target_is_that_one_and_a_changed_one_is_not():
    assert again(sim_of()).target is targets.get("htp-v75")
    changed = replace(targets.get("htp-v75"), simulate_bias=False)
    loaded = again(sim_of(target=changed))
    assert loaded.target == changed and loaded.target is not targets.get("htp-v75") and not loaded.plan.biases


@pytest.mark.parametrize("method", ["minmax", "percentile", "mse"])
def test_ranges_can_be_chosen_anew_as_before(method):
    sim = sim_of("w8a8", method)
    loaded = again(sim)
    for precision in ("w4a4", "w8a8"):
        assert loaded.set_precision(None, precision).encodings().equals(sim.set_precision(None, precision).encodings())


@pytest.mark.parametrize(
    "precision",
    ["fp32", "fp16", "w4a16", Precision(Grid(4, True, "block", 4), Grid(8)), Precision(Grid(8, True), None)],
    ids=str,
)
def test_every_grid_comes_back(precision):
    sim = sim_of(precision)
    loaded = again(sim)
    assert loaded.precision == sim.precision and loaded.encodings().equals(sim.encodings())
    assert torch.equal(loaded(BATCHES[0]), sim(BATCHES[0]))


def test_what_another_sim_holds_already_is_left_out():
    sim = sim_of()
    changed = sim.copy()
    with torch.no_grad():
        changed.model.get_parameter("0.weight").mul_(0.9)
    shared = storage.Shared.of(sim.captured)
    header, tensors = storage.packing.pack(sim, shared)
    assert "graph" not in header and not [n for n in tensors if n.startswith(("reference/", "model/"))]
    assert [n for n in storage.packing.pack(changed, shared)[1] if "weight" in n and "/0." in n] == ["model/0.weight"]
    for one in (sim, changed):
        loaded = storage.loads(qnb.QuantSim, storage.dumps(one, shared), shared=shared)
        assert loaded.captured is sim.captured and torch.equal(loaded(BATCHES[0]), one(BATCHES[0]))


def test_a_reference_of_its_own_is_kept_as_far_as_it_differs():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4), nn.Linear(4, 4)).eval()
    sim = qnb.QuantSim(model, BATCHES[0], "w8a8").calibrate(BATCHES)
    moved = sim.copy()
    qnb.methods.equalize(moved, BATCHES)
    assert moved.captured is not sim.captured
    shared = storage.Shared.of(sim.captured)
    header, tensors = storage.packing.pack(moved, shared)
    kept = {n for n in tensors if n.startswith("reference/")}
    assert "graph" not in header and kept and "reference/3.bias" not in kept
    loaded = storage.loads(qnb.QuantSim, storage.dumps(moved, shared), shared=shared)
    x = BATCHES[0]
    assert torch.equal(loaded(x), moved(x)) and torch.equal(loaded.reference_model(x), moved.reference_model(x))
    assert torch.equal(sim.reference_model(x), again(sim).reference_model(x))


class TestVersions:
    @pytest.mark.parametrize("version", [99, 2, "2", 0, True, None])
    def test_others(self, version):
        header, tensors = parts()
        says = {99: "newer version of qnb.*pip install -U qnb", 2: "older version of qnb.*run the same steps"}.get(
            version, "no version"
        )
        with pytest.raises(FileError, match=says):
            storage.loads(qnb.QuantSim, tensor_file.dumps(storage.FORMAT, header | {"version": version}, tensors))


@cache
def stored(**arguments) -> bytes:
    return storage.dumps(sim_of(**arguments))


def parts(**arguments):
    """(header, tensors) of a file, to be changed."""
    return tensor_file.loads(stored(**arguments), storage.FORMAT, "", "")


def refused(header, tensors, says="To fix"):
    with pytest.raises(FileError, match=says) as error:
        storage.loads(qnb.QuantSim, tensor_file.dumps(storage.FORMAT, header, tensors), "QuantSim.load('x')")
    assert "QuantSim.load('x')" in str(error.value) or "read a graph" in str(error.value)


WEIGHT, ACTIVATION = "weight_quantizers.linear_arg1", "activation_quantizers.linear"


class TestEditedHeaders:
    @pytest.mark.parametrize(
        ("path", "value", "says"),
        [
            (("quantizers", WEIGHT, "axis"), 1, "axis 1"),
            (("quantizers", WEIGHT, "axis"), "0", "axis"),
            (("quantizers", WEIGHT, "axis"), None, "axis"),
            (("quantizers", ACTIVATION, "axis"), 0, "axis 0"),
            (("quantizers", WEIGHT, "enabled"), 1, "is not allowed here"),
            (("quantizers", WEIGHT, "grid", "bits"), 99, "bits=99"),
            (("quantizers", WEIGHT, "grid", "bits"), 8.5, "bits"),
            (("quantizers", WEIGHT, "grid", "kind"), "Module", "kind"),
            (("quantizers", WEIGHT, "grid", "granularity"), "row", "granularity='row'"),
            (("quantizers", WEIGHT, "grid", "block_size"), 4, "block_size=4"),
            (("quantizers", WEIGHT), {"enabled": True}, "that are another's"),
            (("quantizers", "weight_quantizers.other"), {"enabled": True}, "does not place"),
            (("quantizers",), {}, "does not place"),
            (("precision", "weights", "bits"), 64, "bits=64"),
            (("precision", "weights"), "w8", "is not allowed here"),
            (("target", "name"), 3, "type"),
            (("target", "precisions"), ["w8b8"], "w8b8"),
            (("target", "supergroups"), [{"first": "conv2d", "then": []}], "type"),
            (("target", "fixed_ranges"), {"tanh": [1.0, -1.0]}, "tanh"),
            (("target", "norm_weights"), "__class__", "norm_weights"),
            (("target", "anything"), 1, "unexpected"),
            (("applied_methods",), "equalize", "type"),
            (("applied_methods",), None, "type"),
            (("weight_encodings_frozen",), 0, "type"),
            (("graph",), [], "type"),
            (("graph", "nodes", 0, "target"), "x=print('attacked')", "x=print"),
            (("more",), 1, "unexpected"),
        ],
    )
    def test_what_does_not_fit_is_a_file_error(self, path, value, says, capsys):
        header, tensors = parts()
        place = header
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        refused(header, tensors, says)
        assert capsys.readouterr().out == ""

    def test_every_key_is_needed(self):
        header, tensors = parts()
        for key in header.keys() - {"version"}:
            refused({k: v for k, v in header.items() if k != key}, tensors)

    def test_a_number_that_json_reads_as_infinity(self):
        header, tensors = parts(target=TARGET)
        data = tensor_file.dumps(storage.FORMAT, header, tensors)
        old, new = b'\\"tanh\\": [-1.0, 1.0]', b'\\"tanh\\": [-9, 1e999]'
        assert data.count(old) == 1
        with pytest.raises(FileError, match="damaged"):
            storage.loads(qnb.QuantSim, data.replace(old, new))

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            ({"count": 7}, "counts"),
            ({"min": 5.0, "max": -5.0}, "counts"),
            ({"max": 1e300}, "counts"),
            ({"histogram": {"bins": 5, "exponent": 0, "first": 0, "from": 0}}, "counts"),
            ({"histogram": {"bins": 1 << 40, "exponent": 0, "first": 0, "from": 0}}, "damaged"),
        ],
    )
    def test_statistics(self, change, says):
        header, tensors = parts(method="percentile")
        header["quantizers"][ACTIVATION]["statistics"] |= change
        refused(header, tensors, says)

    @pytest.mark.parametrize(
        "rule",
        [
            {"name": "none", "options": {}},
            {"name": "mse", "options": {"x": 1}},
            {"name": "percentile", "options": {"percentile": -3}},
        ],
    )
    def test_rules(self, rule):
        header, tensors = parts(method="percentile")
        header["quantizers"][ACTIVATION]["rule"] = rule
        refused(header, tensors, "calibration method")
        header, tensors = parts(method="minmax")
        header["quantizers"][ACTIVATION]["rule"] = {"name": "mse", "options": {}}
        refused(header, tensors, "histogram")


class TestEditedTensors:
    @pytest.mark.parametrize(
        ("name", "tensor", "says"),
        [
            (f"scale/{WEIGHT}", torch.zeros(8), "not positive"),
            (f"scale/{WEIGHT}", -torch.ones(8), "not positive"),
            (f"scale/{WEIGHT}", torch.full((8,), torch.inf), "not finite"),
            (f"scale/{WEIGHT}", torch.full((8,), torch.nan), "not finite"),
            (f"scale/{WEIGHT}", torch.ones(8).double(), "float32"),
            (f"scale/{WEIGHT}", torch.ones(7), "do not match"),
            (f"scale/{WEIGHT}", None, "do not match"),
            (f"zero_point/{WEIGHT}", torch.full((8,), torch.nan), "not finite"),
            (f"scale/{ACTIVATION}", torch.ones(1), "do not match"),
            (f"minimum/{ACTIVATION}", torch.tensor(1e9), "lower end"),
            (f"minimum/{ACTIVATION}", torch.tensor(torch.nan), "not finite"),
            ("scale/nothing", torch.ones(()), "belongs to nothing"),
            ("anything", torch.ones(()), "belongs to nothing"),
            ("model/nothing", torch.ones(()), "the graph has none"),
            ("model/0.weight", torch.ones(8), "not \\(8, 8\\)"),
            ("model/0.weight", torch.ones(8, 8).half(), "not \\(8, 8\\)"),
            ("reference/0.weight", None, "0.weight"),
            ("reference/nothing", torch.ones(()), "nothing"),
        ],
    )
    def test_what_does_not_fit_is_a_file_error(self, name, tensor, says):
        header, tensors = parts()
        tensors.pop(name, None)
        refused(header, tensors if tensor is None else tensors | {name: tensor}, says)

    def test_shapes_that_agree_and_do_not_fit(self):
        header, tensors = parts()
        for shape in ((3,), (8, 1), ()):
            ones = {f"{part}/{WEIGHT}": torch.ones(shape) for part in ("scale", "zero_point")}
            refused(header, tensors | ones, "shape")
        for shape in ((1,), (8,)):
            ones = {f"{p}/{ACTIVATION}": torch.ones(shape) for p in ("scale", "zero_point", "minimum", "maximum")}
            refused(header, tensors | ones, "shape")
