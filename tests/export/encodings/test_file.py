"""Encodings files: exact numbers, round trips, and what damaged or foreign files do."""

import copy
import json

import onnx
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import qnb
from qnb import QuantSim
from qnb.errors import CalibrationError, ExportError, FileError, InputError, QnbError
from qnb.export import export_encodings, export_onnx
from qnb.export.onnx.program import program
from qnb.graph import capture
from qnb.numerics import FloatGrid, Grid, Precision
from tests.export.files import calibrated
from tests.models import zoo

VERSIONS = ("1.0.0", "2.0.0")
ZOO = zoo()
BLOCKS = Precision(weights=Grid(4, True, "block", 8), activations=Grid(16))
CAPTURED: dict = {}


def captured(name):
    if name not in CAPTURED:
        CAPTURED[name] = capture(*ZOO[name])
    return CAPTURED[name]


def sim_of(name, precision="w8a8", target="htp-v75") -> QuantSim:
    return QuantSim(captured(name), precision=precision, target=target)


def outputs(sim, batch) -> list[torch.Tensor]:
    with torch.no_grad():
        return list(sim.run_flat(sim.flatten(batch, "test")))


def assert_same(sim, other, batch):
    for a, b in zip(outputs(sim, batch), outputs(other, batch), strict=True):
        assert torch.equal(a, b)
    assert sim.encodings().equals(other.encodings())


def entries(path) -> dict[str, dict]:
    content = json.loads(path.read_text())
    lists = [value for key, value in content.items() if key.endswith("encodings")]
    return {entry["name"]: entry for listed in lists for entry in listed}


def edited(path, tensor, /, **changes):
    """The file with some keys of one entry changed; None deletes one."""
    content = json.loads(path.read_text())
    for key in content:
        for entry in content[key] if key.endswith("encodings") else ():
            if entry.get("name") == tensor:
                entry |= changes
                for gone in [k for k, v in changes.items() if v is None]:
                    del entry[gone]
    path.write_text(json.dumps(content))
    return path


class Net(nn.Module):
    """By hand: x 0..2.55 -> linear -> tanh; weights 1.27 and 0.635 at most."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 2)
        self.fc.weight.data = torch.tensor([[1.27, 0.5, -0.25, 0.0], [0.1, 0.635, -0.3, 0.2]])
        self.fc.bias.data = torch.tensor([0.0, 1.0])

    def forward(self, x):
        return torch.tanh(self.fc(x))


BATCH = torch.tensor([[0.0, 2.55, 1.0, 0.5], [-0.0, 0.2, 2.0, 0.1]])


@pytest.fixture
def net():
    return QuantSim(Net().eval(), BATCH, "w8a8").calibrate([BATCH])


def test_the_numbers_of_1_0_0(net, tmp_path):
    file = export_encodings(net, tmp_path / "net.encodings")
    content, listed = json.loads(file.read_text()), entries(file)
    assert content["version"] == "1.0.0" and content["producer"].startswith("qnb ")
    assert [e["name"] for e in content["param_encodings"]] == ["fc.weight", "fc.bias"]
    scale = torch.tensor(2.55) / 255
    assert listed["x"] == {
        "name": "x",
        "dtype": "INT",
        "enc_type": "PER_TENSOR",
        "bw": 8,
        "is_sym": False,
        "scale": [float(scale)],
        "offset": [0],
    }
    weight = listed["fc.weight"]
    assert weight["scale"] == pytest.approx([0.01, 0.005], rel=1e-6)
    assert (weight["enc_type"], weight["is_sym"], weight["offset"]) == ("PER_CHANNEL", True, [-128, -128])
    bias = listed["fc.bias"]
    assert bias["scale"] == pytest.approx([1e-4, 5e-5], rel=1e-6)
    assert (bias["bw"], bias["is_sym"], bias["offset"]) == (32, True, [-(2**31)] * 2)
    low, high = (float(v) for v in net.encodings().query("tensor == 'fc'")[["min", "max"]].iloc[0])
    assert listed["fc"]["offset"] == [round(low / listed["fc"]["scale"][0])] and low < 0 < high
    assert content["quantizer_args"] == {
        "activation_bitwidth": 8,
        "param_bitwidth": 8,
        "dtype": "int",
        "is_symmetric": True,
        "per_channel_quantization": True,
        "quant_scheme": "post_training_tf",
    }


def scheme(sim, folder) -> str | None:
    content = json.loads(export_encodings(sim, folder / "net.encodings").read_text())
    return content["quantizer_args"].get("quant_scheme")


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        ("minmax", "post_training_tf"),
        ("sqnr", "post_training_tf_enhanced"),
        ("percentile", "post_training_percentile"),
        ("mse", None),
    ],
)
def test_the_range_rule_is_named_where_the_format_has_a_word(net, tmp_path, rule, name):
    assert scheme(net.calibrate([BATCH], rule), tmp_path) == name


def test_ranges_of_several_rules_or_of_none_have_no_name(net, tmp_path):
    file = export_encodings(net, tmp_path / "minmax.encodings")
    assert scheme(net.copy().calibrate([BATCH], "sqnr", layers="fc"), tmp_path) is None
    assert scheme(net.copy().load_encodings(file), tmp_path) is None, "who knows how these ranges were found"
    searched = net.copy()
    qnb.methods.seq_mse(searched, [BATCH])
    assert scheme(searched, tmp_path) is None
    assert scheme(QuantSim(Net().eval(), BATCH, "fp16").calibrate([BATCH]), tmp_path) is None


def test_the_numbers_of_2_0_0(net, tmp_path):
    listed = entries(export_encodings(net, tmp_path / "net.encodings", version="2.0.0"))
    assert listed["x"] == {"name": "x", "output_dtype": "uint8", "y_scale": float(torch.tensor(2.55) / 255)}
    assert listed["fc"]["y_zero_point"] == net.encodings().query("tensor == 'fc'").zero_point.iloc[0] > 0
    assert listed["fc.weight"] == {
        "name": "fc.weight",
        "output_dtype": "int8",
        "axis": 0,
        "y_scale": net.weight("linear_arg1").scale.tolist(),
    }
    assert listed["fc.bias"]["output_dtype"] == "int32" and listed["fc.bias"]["axis"] == 0


def test_blocks_and_symmetric_16_bit_activations(tmp_path):
    sim = sim_of("attention", Precision(Grid(4, True, "block", 8), Grid(16))).calibrate([ZOO["attention"][1]])
    one = entries(export_encodings(sim, tmp_path / "1"))
    two = entries(export_encodings(sim, tmp_path / "2", "2.0.0"))
    weight = one["qkv.weight"]
    assert (weight["enc_type"], weight["bw"], weight["block_size"], len(weight["scale"])) == ("PER_BLOCK", 4, 8, 72 * 3)
    assert set(weight["offset"]) == {-8}
    assert two["qkv.weight"]["axis"] == 1 and two["qkv.weight"]["block_size"] == 8
    assert torch.tensor(two["qkv.weight"]["y_scale"]).shape == (72, 3)
    symmetric = [n for n, e in one.items() if e["bw"] == 16 and e["is_sym"]]
    assert symmetric and all(one[n]["offset"] == [-(2**15)] for n in symmetric)
    assert all(two[n]["output_dtype"] == "uint16" and two[n]["y_zero_point"] == 2**15 for n in symmetric)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("target", ["htp-v75", "generic"])
@pytest.mark.parametrize(
    ("name", "precision"),
    [
        ("mobilenet_v2", "w8a8"),
        ("unet", "w4a16"),
        ("attention", "w16a16"),
        ("lstm", "w4a8"),
        ("unet", BLOCKS),
        ("attention", BLOCKS),
        ("reused", "w8a16"),
        ("functional", "w16a16"),
        ("resnet20", "fp16"),
    ],
    ids=str,
)
def test_round_trip(name, precision, target, version, tmp_path):
    batch = ZOO[name][1]
    sim = sim_of(name, precision, target).calibrate([batch])
    file = export_encodings(sim, tmp_path / "e", version)
    fresh = sim_of(name, precision, target)
    assert fresh.load_encodings(file) is fresh
    assert_same(sim, fresh, batch)
    again = export_encodings(fresh, tmp_path / "again", version)
    written, found = (json.loads(path.read_text()) for path in (file, again))
    written.get("quantizer_args", {}).pop("quant_scheme", None)  # a file's ranges are known, not their rule
    assert found == written


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ["attention", "lstm", "unet"])
def test_round_trip_of_mixed_precisions_into_another(name, version, tmp_path):
    """Names of some tensors depend on the bit-widths, so they are known only once the file is read."""
    batch = ZOO[name][1]
    sim = sim_of(name, "w4a8").calibrate([batch])
    layers = list(sim.layers().layer)
    sim.set_precision(layers[::2], "w8a16").set_precision(layers[0], "w16a16")
    fresh = sim_of(name, "w8a8").load_encodings(export_encodings(sim, tmp_path / "e", version))
    assert_same(sim, fresh, batch)


def test_a_calibrated_sim_keeps_what_the_file_does_not_list(net, tmp_path):
    file = export_encodings(net, tmp_path / "e")
    content = json.loads(file.read_text())
    content["param_encodings"] = []
    content["activation_encodings"] = [
        e | {"scale": [0.5], "bw": 4, "offset": [-3]} for e in content["activation_encodings"] if e["name"] == "fc"
    ]
    file.write_text(json.dumps(content))
    before = net.encodings().set_index("tensor")
    after = net.load_encodings(file).encodings().set_index("tensor")
    assert after.loc["fc", ["bits", "scale", "zero_point"]].tolist() == [4, 0.5, 3]
    assert after.drop("fc").equals(before.drop("fc"))
    with pytest.raises(FileError, match="3 quantized tensors have no encoding in it: 'x', 'tanh', 'fc.weight'"):
        QuantSim(Net().eval(), BATCH, "w8a8").load_encodings(edited(file, "fc"))


def test_biases_follow_from_an_edited_weight(net, tmp_path):
    file = edited(export_encodings(net, tmp_path / "e"), "fc.weight", scale=[0.02, 0.01])
    edited(file, "fc.bias", scale="nonsense")
    rows = net.load_encodings(file).encodings().set_index("tensor")
    assert rows.loc["fc.bias", "scale"] == pytest.approx([2e-4, 1e-4], rel=1e-6)


@pytest.mark.parametrize(("bits", "grid", "enabled"), [(16, FloatGrid("fp16"), True), (32, Grid(8), False)])
def test_float_entries(net, tmp_path, bits, grid, enabled):
    file = export_encodings(net, tmp_path / "e")
    edited(file, "fc", dtype="FLOAT", bw=bits, scale=None, offset=None, is_sym=None)
    quantizer = net.load_encodings(file).activation("linear")
    assert (quantizer.grid, quantizer.enabled) == (grid, enabled)
    net(BATCH)


def test_fp16_is_listed_in_1_0_0_and_left_out_of_2_0_0(tmp_path):
    sim = QuantSim(Net().eval(), BATCH, "fp16").calibrate([BATCH])
    listed = entries(export_encodings(sim, tmp_path / "1"))
    assert listed["fc.weight"] == {"name": "fc.weight", "dtype": "FLOAT", "enc_type": "PER_TENSOR", "bw": 16}
    assert entries(export_encodings(sim, tmp_path / "2", "2.0.0")) == {}
    with pytest.raises(ExportError, match="bf16"):
        export_encodings(QuantSim(Net().eval(), BATCH, "bf16").calibrate([BATCH]), tmp_path / "3")


LOW_POWER = {
    "1.0.0": {
        "enc_type": "LPBQ",
        "bw": 8,
        "compressed_bw": 4,
        "block_size": 2,
        "scale": [0.01, 0.02],
        "offset": [-128.0, -128.0],
        "per_block_int_scale": [1, 16, 3, 5],
    },
    "2.0.0": {
        "output_dtype": "int4",
        "y_scale": None,
        "axis": 1,
        "block_size": 2,
        "per_block_int_scale": [[1, 16], [3, 5]],
        "per_channel_float_scale": [[0.01], [0.02]],
    },
}


@pytest.mark.parametrize("version", VERSIONS)
def test_low_power_blocks_become_blocks(net, tmp_path, version):
    file = edited(export_encodings(net, tmp_path / "e", version), "fc.weight", **LOW_POWER[version])
    weight = net.load_encodings(file).weight("linear_arg1")
    assert weight.grid == Grid(4, True, "block", 2) and weight.axis == 1
    assert torch.equal(weight.scale.data, torch.tensor([[1.0, 16.0], [3.0, 5.0]]) * torch.tensor([[0.01], [0.02]]))
    net(BATCH)
    with pytest.raises(FileError, match=r"fc\.weight.*per_block_int_scale.*1 to 16"):
        net.load_encodings(edited(file, "fc.weight", per_block_int_scale=[17, 1, 1, 1]))


def test_what_another_writer_says_differently(net, tmp_path):
    """Offsets as floats, symmetric weights per tensor, signed activations in 2.0.0."""
    file = export_encodings(net, tmp_path / "e")
    edited(file, "fc.weight", enc_type="PER_TENSOR", scale=[0.01], offset=[-128.0])
    weight = net.load_encodings(file).weight("linear_arg1")
    assert weight.axis is None and weight.scale.shape == () and weight.grid.symmetric
    edited(export_encodings(net, file, "2.0.0"), "fc", output_dtype="int8", y_zero_point=-28)
    activation = net.load_encodings(file).activation("linear")
    assert activation.grid == Grid(8) and activation.zero_point == 100


@pytest.mark.parametrize("name", ["resnet20", "attention", "lstm"])
def test_names_are_those_of_the_onnx_file(name, tmp_path):
    model, batch = ZOO[name]
    sim = calibrated(model, batch, "w8a16", "htp-v75")
    model = onnx.load(export_onnx(sim, tmp_path / "m.onnx", form="fp32"))
    file = {n for node in model.graph.node for n in node.output} | {t.name for t in model.graph.initializer}
    file |= {i.name for i in model.graph.input}
    quantized = {n for n, t in program(sim, quantized=True).tensors.items() if t.active}
    for version in VERSIONS:
        listed = set(entries(export_encodings(sim, tmp_path / "e", version)))
        assert listed == quantized
        assert listed <= file


def test_refused_exports(net, tmp_path):
    with pytest.raises(CalibrationError):
        export_encodings(QuantSim(Net().eval(), BATCH), tmp_path / "e")
    with pytest.raises(InputError, match=r"version='0.6.1'.*1\.0\.0, 2\.0\.0"):
        export_encodings(net, tmp_path / "e", "0.6.1")
    with pytest.raises(FileError, match="folder does not exist"):
        export_encodings(net, tmp_path / "missing" / "e")
    with pytest.raises(FileError, match="is a folder"):
        export_encodings(net, tmp_path)
    assert list(tmp_path.iterdir()) == []


WRONG = {
    "bits": ("fc", {"bw": 17}, "bw=17"),
    "32 bits": ("fc", {"bw": 32}, "bw=32"),
    "type": ("fc", {"dtype": "TEXT"}, "dtype='TEXT'"),
    "kind": ("fc", {"enc_type": "VECTOR"}, "enc_type='VECTOR'"),
    "symmetry": ("fc", {"is_sym": True}, "is_sym is true"),
    "no symmetry": ("fc", {"is_sym": "False"}, "is_sym='False'"),
    "channels of an activation": ("fc", {"enc_type": "PER_CHANNEL", "scale": [1, 1], "offset": [0, 0]}, "2 scales"),
    "channels": ("fc.weight", {"scale": [0.1] * 3, "offset": [-128] * 3}, "3 scales where 2 fit"),
    "offsets": ("fc.weight", {"offset": [-128]}, "2 scales and 1 offsets"),
    "blocks": ("fc.weight", {"enc_type": "PER_BLOCK", "block_size": 3}, "block_size 3"),
    "no block size": ("fc.weight", {"enc_type": "PER_BLOCK"}, "block_size=None"),
    "zero scale": ("fc", {"scale": [0.0]}, "not positive"),
    "tiny scale": ("fc", {"scale": [1e-60]}, "not positive"),
    "infinite scale": ("fc", {"scale": [float("inf")]}, "infinite"),
    "NaN": ("fc", {"scale": [float("nan")]}, "NaN"),
    "text": ("fc", {"scale": ["1"]}, "scale="),
    "a long text among many numbers": ("fc", {"scale": [0.1] * 100_000 + ["x" * 100_000]}, "scale="),
    "truth": ("fc", {"scale": [True, 0.1]}, "scale="),
    "deep": ("fc", {"scale": [[[[[[[[[0.1]]]]]]]]]}, "scale="),
    "deeper": ("fc", {"enc_type": json.loads("[" * 920 + "]" * 920)}, "enc_type=|nested too deeply"),
    "no scale": ("fc", {"scale": []}, "scale="),
    "offset": ("fc", {"offset": [1]}, "outside the 256 codes"),
    "low offset": ("fc", {"offset": [-256]}, "outside the 256 codes"),
    "half an offset": ("fc", {"offset": [-0.5]}, "fractions"),
    "half a step": ("fc", {"zero_point_shift": [0.5]}, "between two codes"),
    "name": ("fc", {"name": "fcc"}, r"1 of its tensors are not in this model, 'fcc'.*'fc'"),
    "twice": ("fc", {"name": "x"}, "two entries"),
    "nameless": ("fc", {"name": None}, "without a name"),
}


@pytest.mark.parametrize(("name", "changes", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_entry_changes_nothing(net, tmp_path, name, changes, message):
    file = edited(export_encodings(net, tmp_path / "e"), name, **changes)
    edited(file, "x", scale=[0.125])
    before = net.encodings()
    with pytest.raises(FileError, match=message) as caught:
        net.load_encodings(file)
    assert str(file) in str(caught.value)
    assert net.encodings().equals(before)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "damaged"),
        ("[" * 100_000, "damaged"),
        ("[]", "not an encodings file"),
        ("{}", "no version"),
        ('{"version": "0.6.1"}', "0.6.1"),
        ('{"version": ["1.0.0"]}', "version"),
        ('{"version": "2.0.0", "encodings": {}}', "no list"),
        ('{"version": "1.0.0", "activation_encodings": [], "param_encodings": [3]}', "without a name"),
        ('{"version": "10.0.0"}', "newer version.*pip install -U qnb"),
        ('{"version": "2.0.0x"}', "version '2.0.0x'"),
        ('{"version": ' + "[" * 900 + "]" * 900 + "}", "nested too deeply|version"),
    ],
    ids=range(11),
)
def test_other_files(net, tmp_path, text, message):
    (tmp_path / "e").write_text(text)
    with pytest.raises(FileError, match=message):
        net.load_encodings(tmp_path / "e")
    with pytest.raises(FileError, match="missing"):
        net.load_encodings(tmp_path / "missing")


def test_tensors_that_share_an_encoding_must_agree(tmp_path):
    """In a UNet everything that is concatenated is on one grid."""
    sim = sim_of("unet").calibrate([ZOO["unet"][1]])
    shared: dict = {}
    for name, tensor in program(sim, quantized=False).tensors.items():
        if tensor.active and tensor.kind != "bias":
            shared.setdefault(tensor.quantizer, []).append(name)
    first, second = next(names for names in shared.values() if len(names) > 1)[:2]
    before = sim.encodings()
    for version, key in (("1.0.0", "scale"), ("2.0.0", "y_scale")):
        file = export_encodings(sim, tmp_path / "e", version)
        scale = entries(file)[second][key]
        with pytest.raises(FileError, match="gives another") as caught:
            sim.load_encodings(edited(file, second, **{key: [1.5] if isinstance(scale, list) else 1.5}))
        assert repr(first) in str(caught.value) or repr(second) in str(caught.value)
        assert sim.encodings().equals(before)
    alone = edited(file, second, y_scale=scale)
    assert sim.load_encodings(alone).encodings().equals(before)


HYPOTHESIS_SIM: dict = {}
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-300, 300),
    st.just(10**400),
    st.floats(),
    st.text(max_size=4),
    st.lists(st.one_of(st.integers(-300, 0), st.floats(), st.text(max_size=2)), max_size=3),
    st.lists(st.lists(st.floats(0, 1), max_size=2), max_size=2),
    st.dictionaries(st.text(max_size=2), st.none()),
    st.sampled_from(["INT", "FLOAT", "PER_BLOCK", "LPBQ", "PER_CHANNEL", "int8", "uint4", "float16", "float32"]),
)
KEYS = [
    "name",
    "dtype",
    "enc_type",
    "bw",
    "is_sym",
    "scale",
    "offset",
    "block_size",
    "compressed_bw",
    "output_dtype",
    "per_block_int_scale",
    "y_scale",
    "y_zero_point",
    "axis",
    "per_channel_float_scale",
]


@pytest.mark.parametrize("version", VERSIONS)
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_edit_of_a_file_does_other_harm_than_an_error(version, data, tmp_path):
    if "sim" not in HYPOTHESIS_SIM:
        HYPOTHESIS_SIM["sim"] = QuantSim(Net().eval(), BATCH, "w8a8").calibrate([BATCH])
    sim = HYPOTHESIS_SIM["sim"].copy()
    file = export_encodings(sim, tmp_path / "e", version)
    content = json.loads(file.read_text())
    listed = next(value for key, value in reversed(content.items()) if key.endswith("encodings"))
    for _ in range(data.draw(st.integers(1, 3))):
        entry = listed[data.draw(st.integers(0, len(listed) - 1))]
        entry[data.draw(st.sampled_from(KEYS))] = copy.copy(data.draw(JUNK))
    text = json.dumps(content)
    cut = data.draw(st.one_of(st.just(len(text)), st.integers(0, len(text))))
    file.write_text(text[:cut])
    before, wanted = sim.encodings(), outputs(sim, BATCH)
    try:
        sim.load_encodings(file)
        outputs(sim, BATCH)
    except QnbError:
        assert sim.encodings().equals(before)
        assert all(map(torch.equal, wanted, outputs(sim, BATCH)))


def test_it_is_part_of_the_package():
    assert qnb.export.export_encodings is export_encodings
