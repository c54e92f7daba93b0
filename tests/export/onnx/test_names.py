"""Names in an exported file, and what its metadata says of them."""

import pytest

from qnb.export import export_onnx
from tests.export.files import File, calibrated, exported, net
from tests.models import zoo


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
