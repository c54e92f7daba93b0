"""What is in an exported file, what is left behind when an export fails, and models at the edges."""

import os
from dataclasses import dataclass

import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import qnb
from qnb.errors import CalibrationError, Cancelled, ExportError, FileError, InputError
from qnb.export import export_onnx
from qnb.numerics import Grid, Precision
from qnb.runtimes import OnnxRuntime
from tests.export.files import File, agreement_db, calibrated, exported, simulated
from tests.models import images, zoo


def net():
    """Two weighted layers of different kinds."""
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 14 * 14, 5)).eval()


@pytest.fixture(scope="module")
def sims():
    """Calibrated once for each precision and target: to read only."""
    made, x = {}, images()
    torch.manual_seed(0)
    model = net()

    def of(precision="w8a8", target="htp-v75"):
        if (precision, target) not in made:
            made[precision, target] = calibrated(model, x, precision, target)
        return made[precision, target]

    return of


# Weights.


@pytest.mark.slow
def test_size(tmp_path):
    """5.2 million parameters: a quarter of the FP32 file's bytes at 8 bits, an eighth at 4, and what names take."""
    model = nn.Sequential(nn.Conv2d(3, 64, 3, 2), nn.ReLU(), nn.Conv2d(64, 128, 3, 2), nn.ReLU(),
                          nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(2048, 2048), nn.ReLU(),
                          nn.Linear(2048, 480)).eval()  # fmt: skip
    assert sum(p.numel() for p in model.parameters()) > 5e6
    x, size = images(2, 32), {}
    for precision in ("fp32", "w8a8", "w4a8"):
        path = export_onnx(calibrated(model, x, precision), tmp_path / f"{precision}.onnx")
        size[precision] = path.stat().st_size
    assert size["w8a8"] <= 0.27 * size["fp32"] and size["w4a8"] <= 0.15 * size["fp32"]


@pytest.mark.parametrize(
    ("precision", "kind", "bits"), [("w8a8", "INT8", 8), ("w4a8", "INT4", 4), ("w16a16", "INT16", 16)]
)
def test_weights_are_integers_per_channel_and_biases_int32(sims, tmp_path, precision, kind, bits):
    file = File(export_onnx(sims(precision), tmp_path / "m.onnx"))
    for layer, axis in (("0", 0), ("3", 0)):
        weight = file.maker[f"{layer}.weight"]
        assert weight.op_type == "DequantizeLinear" and file.attributes(weight)["axis"] == axis
        codes, scale, zero_point = weight.input
        assert file.type_of(codes) == file.type_of(zero_point) == kind and not file.values(zero_point).any()
        assert file.values(scale).shape == (file.values(codes).shape[axis],)
        packed = file.initializers[codes].raw_data
        assert len(packed) == -(-file.values(codes).size * bits // 8)
        bias = file.maker[f"{layer}.bias"]
        assert bias.op_type == "DequantizeLinear" and file.type_of(bias.input[0]) == "INT32"
    floats = [n for n, t in file.initializers.items() if t.data_type == onnx.TensorProto.FLOAT]
    assert floats and all(name.endswith("_scale") for name in floats), "no float weight is left in the file"


def test_the_dequantized_weight_is_the_sims(sims, tmp_path):
    sim = sims("w4a8")
    found = exported(sim, tmp_path / "m.onnx").values(["0.weight", "3.weight", "3.bias"], images())
    for key, site in sim.plan.weights.items():
        assert torch.equal(found[site.tensor], sim.weight(key)(sim.weight_tensor(key)).detach())
    key = next(k for k, site in sim.plan.biases.items() if site.tensor == "3.bias")
    torch.testing.assert_close(found["3.bias"], sim.bias_tensor(key), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("grid", "attributes", "scales"),
    [
        (Grid(8, True), {}, ()),
        (Grid(8, True, "channel"), {"axis": 0}, (6,)),
        (Grid(4, True, "block", 16), {"axis": 1, "block_size": 16}, (6, 4)),
    ],
    ids=["tensor", "channel", "block"],
)
def test_granularity(tmp_path, grid, attributes, scales):
    x = torch.randn(8, 64)
    sim = calibrated(nn.Linear(64, 6).eval(), x, Precision(grid, Grid(16)))
    runtime = exported(sim, tmp_path / "m.onnx")
    file = File(runtime.path)
    node = file.maker["weight"]
    found = {name: value for name, value in file.attributes(node).items() if name in ("axis", "block_size")}
    assert found == attributes and file.values(node.input[1]).shape == scales
    assert agreement_db(sim, runtime, x) >= 60


def test_odd_widths_are_held_in_the_next_type_and_clipped(tmp_path):
    x = images()
    sim = calibrated(net(), x, "w3a10")
    runtime = exported(sim, tmp_path / "m.onnx")
    file = File(runtime.path)
    codes = file.maker["0.weight"].input[0]
    assert file.type_of(codes) == "INT4" and set(file.values(codes).astype(int).ravel()) <= set(range(-4, 4))
    quantize = file.ops("QuantizeLinear")
    assert {file.type_of(n.input[2]) for n in quantize} == {"UINT16"}
    clips = file.ops("Clip")
    assert len(clips) == len(quantize)
    assert {(int(file.values(n.input[1])), int(file.values(n.input[2]))) for n in clips} == {(0, 1023)}
    assert agreement_db(sim, runtime, x) >= 60
    assert agreement_db(sim, runtime, 3 * x) >= 60, "values beyond the range saturate at the same code"


# Forms.


def test_fp16(sims, tmp_path):
    runtime = exported(sims("fp16"), tmp_path / "m.onnx")
    file = File(runtime.path)
    assert runtime.metadata["form"] == "fp16"
    assert {v.elem_type for v in (*file.inputs.values(), *file.outputs.values())} == {onnx.TensorProto.FLOAT}
    assert {file.type_of(n) for n in ("0.weight", "0.bias", "3.weight", "3.bias")} == {"FLOAT16"}
    assert "FLOAT" not in {file.type_of(n) for n in file.initializers}
    assert agreement_db(sims("fp16"), runtime, images()) >= 50


def test_forms_share_graph_and_tensor_names(sims, tmp_path):
    files = {form: File(export_onnx(sims(), tmp_path / f"{form}.onnx", form=form)) for form in ("qdq", "fp16", "fp32")}
    assert not files["fp32"].ops("QuantizeLinear", "DequantizeLinear", "Cast")
    for file in files.values():
        assert list(file.inputs) == ["input"] and list(file.outputs) == ["output"]
        assert {"0.weight", "0.bias", "3.weight"} <= {*file.initializers, *file.maker}
    sim = qnb.QuantSim(sims().captured, precision="fp32")
    assert agreement_db(sim, OnnxRuntime(files["fp32"].path), images()) >= 110


def test_bf16(sims, tmp_path):
    runtime = exported(sims("bf16"), tmp_path / "m.onnx")
    assert runtime.metadata["precision"] == "bf16" and runtime.metadata["form"] == "qdq"
    assert agreement_db(sims("bf16"), runtime, images()) >= 35


@pytest.mark.parametrize("precision", ["fp8_e4m3", "fp8_e5m2"])
def test_fp8(sims, tmp_path, precision):
    """Node by node: ONNX Runtime's optimizer takes a ReLU before an 8-bit float for one before uint8, and drops it."""
    path = export_onnx(sims(precision), tmp_path / "m.onnx")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (got,) = session.run(None, {"input": images().numpy()})
    # A sum in another order falls on the next of few values now and then.
    wanted = simulated(sims(precision), images())["output"]
    assert (torch.from_numpy(got) == wanted).float().mean() >= 0.8
    torch.testing.assert_close(torch.from_numpy(got), wanted, rtol=0.3, atol=0.02)


@pytest.mark.parametrize(("precision", "kind"), [("w8a8", "UINT8"), ("w8a16", "UINT16")])
def test_integer_ends(sims, tmp_path, precision, kind):
    sim, x = sims(precision), images(seed=1)
    outside = exported(sim, tmp_path / "floats.onnx")
    runtime = exported(sim, tmp_path / "codes.onnx", integer_io=True)
    file = File(runtime.path)
    wanted = getattr(onnx.TensorProto, kind)
    assert {v.elem_type for v in (*file.inputs.values(), *file.outputs.values())} == {wanted}
    assert set(runtime.metadata["inputs"]) == {"input"} and set(runtime.metadata["outputs"]) == {"output"}
    assert torch.equal(runtime.run(x), outside.run(x))


def test_integer_ends_of_a_model_with_other_inputs_and_outputs(tmp_path):
    """Token ids stay what they are; the float output becomes codes."""
    model, batch = zoo()["lstm"]
    sim = calibrated(model, batch, "w8a8")
    runtime = exported(sim, tmp_path / "m.onnx", integer_io=True)
    assert runtime.inputs[0].dtype == torch.int64 and runtime.outputs[0].dtype == torch.uint8
    assert agreement_db(sim, runtime, batch) >= 25


# Every activation between ops is quantized.

MOVED = {
    ("Conv", "Relu"): "inside a supergroup, where the range goes below 0 so that the ReLU is needed",
    ("Add", "Relu"): "inside a supergroup, as above",
    ("Where", "Softmax"): "scores are quantized before they are masked with -inf, which no grid holds",
    ("Where", "Equal"): "the guard against rows that are masked as a whole, part of the mask",
    ("Expand", "Where"): "as above",
    ("Softmax", "Where"): "as above; quantized behind it",
    ("Softmax", "Shape"): "a shape has no values",
}
RECURRENT = "what moves and stacks weights, inputs and states before an LSTM, and its output after it"
CONSTANTS = {
    ("Mul", 1): "a number, which goes into the scale",
    ("Where", 2): "the mask's -inf",
    ("Equal", 1): "the mask's -inf",
    ("Expand", 0): "zeros: masked rows, and the states that a recurrent layer starts with",
    ("LayerNormalization", 2): "a normalization's bias; targets take it in higher precision",
    ("Resize", 2): "factors of the sizes",
    ("LSTM", 3): "a recurrent layer's biases; targets take them in higher precision",
}
MOVES = {"Slice", "Squeeze", "Unsqueeze", "Concat", "Transpose", "Reshape", "Expand", "Shape"}


def float_inputs(file):
    """(node, position, tensor) of every float that a node other than Q and DQ reads."""
    graph = onnx.shape_inference.infer_shapes(file.model).graph
    types = {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.input, *graph.output)}
    types |= {name: tensor.data_type for name, tensor in file.initializers.items()}
    for node in file.nodes:
        for position, name in enumerate(node.input):
            if name and node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
                if types[name] == onnx.TensorProto.FLOAT:
                    yield node, position, name


def unquantized(file):
    """What float_inputs gives that neither comes from a DequantizeLinear nor is excused above."""
    for node, position, name in float_inputs(file):
        maker = file.maker.get(name)
        if maker is None:
            excused = name in file.initializers and (node.op_type, position) in CONSTANTS
        else:
            excused = maker.op_type == "DequantizeLinear" or (maker.op_type, node.op_type) in MOVED
        if not excused:
            yield maker.op_type if maker is not None else name, node.op_type


@pytest.mark.slow
@pytest.mark.parametrize("target", ["onnxruntime-cpu", "htp-v75"])
@pytest.mark.parametrize("name", ["attention", "unet"])
def test_every_float_between_ops_is_quantized(name, target, tmp_path):
    model, batch = zoo()[name]
    file = File(export_onnx(calibrated(model, batch, "w8a8", target), tmp_path / "m.onnx"))
    assert not list(unquantized(file))
    assert len(file.ops("QuantizeLinear")) > 5


@pytest.mark.slow
def test_every_float_around_a_recurrent_layer_is_quantized(tmp_path):
    model, batch = zoo()["lstm"]
    file = File(export_onnx(calibrated(model, batch, "w8a8"), tmp_path / "m.onnx"))
    rest = set(unquantized(file))
    assert rest and all({first, second} <= {*MOVES, "LSTM"} for first, second in rest), RECURRENT
    (embedding,), (head,) = file.ops("Gather"), file.ops("Gemm")
    for node in (embedding, head):
        assert file.maker[node.input[0]].op_type == "DequantizeLinear"


# Names.


def test_tensor_names(sims, tmp_path):
    file = File(export_onnx(sims(), tmp_path / "m.onnx"))
    for node in file.ops("QuantizeLinear"):
        assert node.output[0].endswith("_quantized")
        stem = node.output[0].removesuffix("_quantized")
        assert list(node.input[1:]) == [f"{stem}_scale", f"{stem}_zero_point"]
        (reader,) = [n for n in file.ops("DequantizeLinear") if n.input[0] == node.output[0]]
        wanted = stem if stem in file.outputs else f"{stem}_dequantized"
        assert reader.output[0] == wanted and list(reader.input[1:]) == list(node.input[1:])
        assert node.input[0] == stem or node.input[0] == f"{stem}_float" and stem in file.outputs
    names = dict(net().named_parameters())
    made = {n.output[0] for n in file.ops("DequantizeLinear") if n.input[0] in file.initializers}
    assert made == set(names), "a parameter's DequantizeLinear has its name"


def test_names_are_unique_and_say_nothing_of_the_exporter(sims, tmp_path):
    file = File(export_onnx(sims(), tmp_path / "m.onnx"))
    values = [*file.inputs, *file.initializers, *file.maker]
    assert len(values) == len(set(values)) and len({n.name for n in file.nodes}) == len(file.nodes)
    assert {p.key for p in file.model.metadata_props} == {"qnb"}
    assert not any(p.key for v in file.model.graph.value_info for p in v.metadata_props)
    assert not any(n.metadata_props or n.doc_string for n in file.nodes)
    used = {name for n in file.nodes for name in n.input} | set(file.outputs)
    assert set(file.initializers) <= used, "no constant that nothing reads"


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("reused", "qdq"),
        ("reused", "fp16"),
        ("reused", "fp32"),
        pytest.param("attention", "qdq", marks=pytest.mark.slow),
    ],
)
def test_metadata_lists_every_layer(name, form, tmp_path):
    model, batch = zoo()[name]
    sim = calibrated(model, batch, "w8a16", "htp-v75")
    runtime = exported(sim, tmp_path / "m.onnx", form=form)
    layers = {row["layer"]: row for row in runtime.metadata["layers"]}
    assert list(layers) == list(sim.layers().layer)
    found = runtime.values([row["tensor"] for row in layers.values()], *sim.flatten(batch, "test"))
    for row in layers.values():
        assert found[row["tensor"]].numel() and (form == "qdq") == bool(row["codes"])


# What is on the disk afterwards.


def test_a_second_export_replaces_the_first(sims, tmp_path):
    path = tmp_path / "m.onnx"
    first = export_onnx(sims("w8a8"), path).read_bytes()
    assert export_onnx(sims("w8a16"), path) == path and path.read_bytes() != first
    assert export_onnx(sims("w8a8"), str(path)).read_bytes() == first, "the same sim gives the same file"
    assert os.listdir(tmp_path) == ["m.onnx"]


@pytest.fixture
def old(tmp_path):
    """A file that a failed export must leave as it is, alone in its folder."""
    path = tmp_path / "m.onnx"
    path.write_bytes(b"old")
    yield path
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["m.onnx"]


def test_what_the_checker_refuses_is_not_written(sims, old, monkeypatch):
    def refuse(*_, **__):
        raise onnx.checker.ValidationError("no such thing")

    monkeypatch.setattr(onnx.checker, "check_model", refuse)
    with pytest.raises(ExportError, match="no such thing"):
        export_onnx(sims(), old)


@pytest.mark.skipif(os.geteuid() == 0 if hasattr(os, "geteuid") else True, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(sims, old):
    old.parent.chmod(0o500)
    try:
        with pytest.raises(FileError, match="choose a folder"):
            export_onnx(sims(), old)
    finally:
        old.parent.chmod(0o700)


def test_a_folder_that_refuses_a_temporary_one(sims, old, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError("read-only file system")

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    with pytest.raises(FileError, match="read-only file system.*choose a folder"):
        export_onnx(sims(), old)


def test_a_disk_that_is_full(sims, old, monkeypatch):
    def refuse(*_, **__):
        raise OSError(28, "no space left on device")

    monkeypatch.setattr("onnx_ir.save", refuse)
    with pytest.raises(FileError, match="no space left"):
        export_onnx(sims(), old)


def test_a_path_that_is_a_folder(sims, tmp_path):
    (tmp_path / "m.onnx").mkdir()
    with pytest.raises(FileError, match="choose a file"):
        export_onnx(sims(), tmp_path / "m.onnx")
    assert os.listdir(tmp_path) == ["m.onnx"]


@pytest.mark.parametrize("step", [0, 1, 2])
def test_cancelled(sims, old, step):
    seen = []

    def progress(done, total, message):
        seen.append((done, total))
        assert old.name in message
        if done == step:
            raise Cancelled()

    with pytest.raises(Cancelled):
        export_onnx(sims(), old, progress=progress)
    assert seen == [(done, 3) for done in range(step + 1)]


def test_progress_ends(sims, tmp_path):
    seen = []
    export_onnx(sims(), tmp_path / "m.onnx", progress=lambda *report: seen.append(report[:2]))
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("form", "precisions"), [("qdq", ["w4a8", "w8a8"]), ("fp16", ["w8a8"])], ids=["qdq", "fp16"]
)
def test_constants_beyond_the_limit_lie_beside_the_file(sims, tmp_path, monkeypatch, form, precisions):
    whole = exported(sims("w8a8"), tmp_path / "whole.onnx", form=form).run(images())
    monkeypatch.setattr("qnb.export.onnx_file.LARGEST_FILE", 1000)
    path = tmp_path / "m.onnx"
    for precision in precisions:
        runtime = exported(sims(precision), path, form=form)
        assert sorted(os.listdir(tmp_path)) == ["m.onnx", "m.onnx.data", "whole.onnx"]
        names = {t.name for t in onnx.load(path, load_external_data=False).graph.initializer if t.external_data}
        assert names == {"3.weight_quantized"} if form == "qdq" else "3.weight" in names
        got = runtime.run(images())
    assert torch.equal(got, whole), "both files were replaced"


# What is refused.


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"form": "int8"}, InputError, "qdq, fp16, fp32"),
        ({"batch": 0}, InputError, "positive"),
        ({"batch": True}, InputError, "positive"),
        ({"batch": 2.0}, InputError, "positive"),
        ({"form": "fp32", "integer_io": True}, InputError, "integer_io"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else None,
)
def test_arguments(sims, old, arguments, error, words):
    with pytest.raises(error, match=words):
        export_onnx(sims(), old, **arguments)


def test_not_calibrated(old):
    sim = qnb.QuantSim(net(), images())
    with pytest.raises(CalibrationError, match="calibrate"):
        export_onnx(sim, old)


def test_no_folder(sims, tmp_path):
    with pytest.raises(FileError, match="does not exist"):
        export_onnx(sims(), tmp_path / "none" / "m.onnx")
    assert os.listdir(tmp_path) == []


def test_a_batch_that_the_capture_fixed(tmp_path):
    x = images()
    sim = calibrated(net(), x, dynamic_shapes={})
    if isinstance(sim.captured.inputs[0].shape[0], str):
        pytest.skip("the capture kept the batch variable")
    with pytest.raises(InputError, match="fixed it at 4"):
        export_onnx(sim, tmp_path / "m.onnx", batch=1)
    assert agreement_db(sim, exported(sim, tmp_path / "m.onnx"), x) >= 25


@torch.library.custom_op("qnb_tests::unheard_of", mutates_args=())
def unheard_of(x: torch.Tensor) -> torch.Tensor:
    return x + 1


unheard_of.register_fake(torch.empty_like)


def test_an_op_without_onnx_form_is_named(old):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(8, 8)

        def forward(self, x):
            return unheard_of(self.fc(x))

    with pytest.raises(ExportError, match="unheard_of.*replace that op"):
        export_onnx(calibrated(Model().eval(), torch.randn(4, 8)), old)


# Models at the edges.

EDGES = {}


def edge(*inputs):
    """Keeps a model's class with the inputs it takes."""
    return lambda cls: EDGES.setdefault(cls.__name__, (cls, inputs)) and cls


X, IMAGE = torch.randn(4, 8), torch.randn(4, 3, 6, 6)
SEQUENCE = torch.randn(4, 5, 8)


class OneLinear(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 8)


@edge(X)
class SameTensorTwice(OneLinear):
    def forward(self, x):
        y = self.fc(x)
        return y, y


@edge(X)
class InputUnchanged(OneLinear):
    def forward(self, x):
        return x, self.fc(x)


@edge(X)
class Constant(OneLinear):
    def __init__(self):
        super().__init__()
        self.register_buffer("prior", torch.linspace(0, 1, 8))

    def forward(self, x):
        return self.fc(x), self.prior


@edge(X)
class ConstantUsedToo(Constant):
    def forward(self, x):
        return self.fc(x) + self.prior, self.prior


@dataclass
class Pair:
    logits: torch.Tensor
    scores: dict
    loss: torch.Tensor | None = None


@edge(X)
class NestedOutput(OneLinear):
    def forward(self, x):
        y = self.fc(x)
        return Pair(logits=y, scores={"soft": y.softmax(-1), "sharp": [y.sigmoid()]})


@edge(X)
class ClassNumbers(OneLinear):
    def forward(self, x):
        y = self.fc(x)
        return y.argmax(-1), y


@edge(X)
class OnlyReshaped(OneLinear):
    def forward(self, x):
        y = self.fc(x)
        return y.view(-1, 2, 4), y.view(-1, 4, 2).transpose(1, 2)


@edge(X)
class InputOnlyReshaped(OneLinear):
    def forward(self, x):
        return x.view(-1, 2, 4), self.fc(x)


@edge(X, X)
class InputUsedNowhere(OneLinear):
    def forward(self, x, unused):
        return self.fc(x)


@edge(torch.randint(0, 20, (4, 6)))
class TiedEmbedding(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(20, 8), nn.Linear(8, 20, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, ids):
        return self.head(torch.tanh(self.embedding(ids)))


@edge(SEQUENCE)
class Linear3dThenRelu(OneLinear):
    def forward(self, x):
        return F.relu(self.fc(x))


@edge(SEQUENCE)
class Linear3dThenLeakyRelu(OneLinear):
    def forward(self, x):
        return F.leaky_relu(self.fc(x), 0.1)


@edge(SEQUENCE)
class Linear3dReadTwice(OneLinear):
    def forward(self, x):
        y = self.fc(x)
        return F.relu(y) + y


@edge(torch.randn(2, 3, 4, 8))
class Linear4d(OneLinear):
    def forward(self, x):
        return self.fc(self.fc(x).relu())


@edge(IMAGE)
class MeanKept(nn.Module):
    def forward(self, x):
        return F.relu(x).mean((2, 3), keepdim=True)


@edge(IMAGE)
class MeanDropped(nn.Module):
    def forward(self, x):
        return F.relu(x).mean((-1, -2)) * 2


@edge(IMAGE)
class MeanOfOneAxis(nn.Module):
    def forward(self, x):
        return F.relu(x).mean(1)


@edge(IMAGE)
class LoneRelu6(nn.Module):
    def forward(self, x):
        return F.relu6(x * 4), F.relu6(x + x)


@edge(IMAGE)
class Hardtanh(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return F.hardtanh(self.conv(x), -0.3, 0.7)


@edge(IMAGE)
class Clamps(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        return self.conv(x).clamp(min=-0.1), self.conv(x).clamp(max=0.2), self.conv(x + 1).clamp(-0.2, 0.4)


AT_EIGHT_BITS = ("Linear3dThenRelu", "LoneRelu6")


@pytest.mark.parametrize(
    ("name", "precision", "target", "least_db"),
    [*((name, "w8a16", "htp-v75", 60) for name in EDGES),
     *((name, "w8a8", "onnxruntime-cpu", 25) for name in AT_EIGHT_BITS)],
    ids=lambda value: str(value) if isinstance(value, str) else "",
)  # fmt: skip
def test_edges(name, precision, target, least_db, tmp_path):
    cls, inputs = EDGES[name]
    sim = calibrated(cls().eval(), inputs, precision, target)
    runtime = exported(sim, tmp_path / "m.onnx")
    assert [t.name for t in runtime.outputs] == sim.captured.returned.names()
    assert [t.name for t in runtime.inputs] == [i.name for i in sim.captured.inputs]
    assert {t.shape[0] for t in runtime.inputs} == {"batch"}, "also of an input whose batch nothing ties to the others"
    for count in (len(inputs[0]), 1):
        assert agreement_db(sim, runtime, tuple(x[:count] for x in inputs)) >= least_db


def test_output_names(tmp_path):
    cls, inputs = EDGES["NestedOutput"]
    sim = calibrated(cls().eval(), inputs)
    names = ["logits", "scores.soft", "scores.sharp.0"]
    assert list(File(export_onnx(sim, tmp_path / "m.onnx")).outputs) == names


def test_a_superfluous_relu_is_left_out_and_a_needed_one_kept(tmp_path):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1)

        def forward(self, x):
            y = F.relu(self.conv(x))
            return torch.cat([y, x], 1) if self.joined else y

    for joined in (False, True):
        model = Model().eval()
        model.joined = joined
        file = File(export_onnx(calibrated(model, IMAGE), tmp_path / "m.onnx"))
        assert len(file.ops("Relu")) == joined, "in a concat, the range goes down to the input's"


def test_a_switched_off_quantizer_leaves_its_tensor_in_float(tmp_path):
    x = images()
    sim = calibrated(net(), x).disable("0")
    runtime = exported(sim, tmp_path / "m.onnx")
    file = File(runtime.path)
    assert "0.weight" in file.initializers and file.type_of("0.weight") == "FLOAT"
    assert agreement_db(sim, runtime, x) >= 25


def test_mixed_precision(tmp_path):
    x = images()
    sim = calibrated(net(), x, "w8a16", "htp-v75").set_precision("3", "w4a8")
    runtime = exported(sim, tmp_path / "m.onnx")
    file = File(runtime.path)
    assert [file.type_of(file.maker[f"{n}.weight"].input[0]) for n in "03"] == ["INT8", "INT4"]
    assert sorted(file.type_of(n.input[2]) for n in file.ops("QuantizeLinear"))[-1] == "UINT8"
    assert agreement_db(sim, runtime, x) >= 25
