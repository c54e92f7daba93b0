"""Graphs to JSON and back; files from strangers."""

import json
import math
import os

import pytest
import torch
import torch.nn.functional as F

from qnb.errors import FileError
from qnb.graph import capture
from qnb.graph.captured import as_call
from qnb.graph.serialize import from_json, to_json
from qnb.graph.structure import flatten
from tests.models import transformers_zoo, zoo


def round_trip(captured):
    stored, tensors = to_json(captured)
    return from_json(json.loads(json.dumps(stored, allow_nan=False)), dict(tensors))


@pytest.mark.parametrize("name", [*zoo(), "llama", "bert"])
def test_round_trip_gives_the_same_numbers(name):
    model, batch = zoo()[name] if name in zoo() else transformers_zoo()[name]
    captured = capture(model, batch)
    again = round_trip(captured)
    flat = captured.flatten(batch)
    with torch.no_grad():
        for a, b in zip(captured.module(*flat), again.module(*again.flatten(batch)), strict=True):
            assert torch.equal(a, b)
    metas = [
        [{k: n.meta.get(k) for k in ("layer", "op", "module", "source", "shape")} for n in c.module.graph.nodes]
        for c in (captured, again)
    ]
    assert metas[0] == metas[1] and again.inputs == captured.inputs and again.limits == captured.limits


def test_outputs_keep_their_form_without_the_users_classes():
    model, batch = zoo()["attention"]
    again = round_trip(capture(model, batch))
    _, kwargs = as_call(batch)
    out = again.unflatten(again.module(*again.flatten_call((), kwargs, "test")))
    assert set(out) == {"logits", "hidden", "loss"} and out.logits.shape == (4, 4) and out.loss is None
    assert len(flatten(out)[0]) == 2


RAN = "__import__('os').environ.__setitem__('QNB_RAN', '1')"
"""Whoever executes this leaves a mark; the second form has no dots, for paths."""
UNDOTTED = "exec(bytes([" + ",".join(str(b) for b in f"import os; {RAN}".encode()) + "]))"


@pytest.fixture(scope="module")
def saved():
    return to_json(capture(*zoo()["functional"]))


@pytest.fixture
def functional(saved, monkeypatch):
    """A graph's JSON and tensors, to edit; fails if anything of it was executed."""
    monkeypatch.delenv("QNB_RAN", raising=False)
    yield json.loads(json.dumps(saved[0])), dict(saved[1])
    assert "QNB_RAN" not in os.environ


def row(stored, op):
    return next(n for n in stored["nodes"] if n["op"] == op)


def refused(stored, tensors, words=None):
    """Also runs what should have been refused, so that code in its body would leave its mark."""
    with pytest.raises(FileError, match=words):
        again = from_json(stored, tensors)
        again.module(*(torch.zeros(4, 3, 16, 16) for _ in again.inputs))


@pytest.mark.parametrize(
    "text",
    [
        f"x={RAN}",
        f"x, y={RAN}",
        "*x",
        "x: print()",
        "lambda",
        "self",
        "x y",
        "\u00e9",
        "",
        "torch",
        f"x)\n  {RAN}\ndef f(y",
    ],
)
@pytest.mark.parametrize("field", ["target", "name", "both"])
def test_an_input_is_a_name_and_no_more(functional, text, field):
    stored, tensors = functional
    given = row(stored, "placeholder")
    given.update({key: text for key in ("target", "name") if field in (key, "both")})
    stored = json.loads(json.dumps(stored).replace('{"node": "leaves_0"}', json.dumps({"node": given["name"]})))
    refused(stored, tensors)


@pytest.mark.parametrize("name", ["conv2d=1", "lambda", f"a;{RAN};b", "inf", "self", "a.b", "None"])
def test_a_value_has_a_name_and_no_more(functional, name):
    stored, tensors = functional
    row(stored, "call_function")["name"] = name
    refused(json.loads(json.dumps(stored).replace('{"node": "conv2d"}', json.dumps({"node": name}))), tensors)


@pytest.mark.parametrize(
    "path",
    [
        f'a", {UNDOTTED}) or getattr(self, "a',
        f"a', {UNDOTTED}, 'a",
        "class",
        "{x}",
        "\ufb01",
        "a.lambda",
        "forward",
        "forward.a",
        "a.training",
        "__class__.a",
        "a.__class__.b",
        "_parameters.a",
        "graph",
        "activation_quantizers.a",
        "a..b",
        "",
        ".a",
        "a\\",
        "a#b",
        "a" * 2000,
        ".".join("a" * 100),
    ],
)
def test_a_tensor_is_where_tensors_are(functional, path):
    stored, tensors = functional
    given = row(stored, "get_attr")
    tensors[path] = tensors.pop(given["target"])
    given["target"] = path
    refused(stored, tensors, "tensor at")


@pytest.mark.parametrize(
    "names",
    [
        ("0", "1"),
        ("3x3", "a-b"),
        ("größe", "conv 1"),
        ("heads", "t:0"),
        ("<img src=x onerror=a>", "k=3, (s=2)"),
        (f"a;{UNDOTTED}", f"a, {UNDOTTED}"),
    ],
)
def test_tensors_have_any_plain_name(names, functional):
    model = torch.nn.ModuleDict({name: torch.nn.Linear(4, 4) for name in names})
    model.forward = lambda x: model[names[1]](model[names[0]](x))
    captured = capture(model.eval(), torch.ones(2, 4))
    again = round_trip(captured)
    assert torch.equal(again.module(torch.ones(2, 4))[0], captured.module(torch.ones(2, 4))[0])
    assert [n.target for n in again.module.graph.nodes] == [n.target for n in captured.module.graph.nodes]


@pytest.mark.parametrize("key", [f"*[{RAN}], dim", "lambda", "no_such", "self"])
def test_keywords_are_those_of_the_op(functional, key):
    stored, tensors = functional
    row(stored, "call_function")["kwargs"][key] = 1
    refused(stored, tensors)


@pytest.mark.parametrize(
    "value",
    [
        "# COUNTER: 1",
        "'",
        "a\nb",
        {"torch": "load"},
        {"torch": "uint4"},
        {"device": "cpu;"},
        {"device": "privateuseone"},
        {"float": "1"},
        {"float": "inf", "node": "conv2d"},
        {},
        {"node": "no_such"},
        {"node": "matmul"},
        [[[1]]],
        10**30,
        {"exec": RAN},
        "x" * 1000,
    ],
)
def test_arguments_are_of_known_kinds(functional, value):
    stored, tensors = functional
    row(stored, "call_function")["args"][0] = value
    refused(stored, tensors)


@pytest.mark.parametrize("op", ["call_method", "call_module", "root", "", None, 7])
def test_kinds_of_nodes_are_known(functional, op):
    stored, tensors = functional
    row(stored, "call_function")["op"] = op
    refused(stored, tensors, "damaged")


def _twice(stored, tensors):
    stored["nodes"].insert(3, stored["nodes"][3])


def _same_layer(stored, tensors):
    calls = [n for n in stored["nodes"] if n["op"] == "call_function"]
    calls[1]["meta"]["layer"] = calls[0]["meta"]["layer"]


def _reversed(stored, tensors):
    stored["nodes"] = stored["nodes"][::-1]


def _no_output(stored, tensors):
    del stored["nodes"][-1]


def _early_output(stored, tensors):
    stored["nodes"].insert(1, {**stored["nodes"][-1], "name": "early", "args": [[]]})


def _more_outputs(stored, tensors):
    stored["nodes"][-1]["args"][0] *= 2


def _no_tensor(stored, tensors):
    tensors.popitem()


def _more_tensors(stored, tensors):
    tensors["more"] = torch.ones(1)


def _inside(stored, tensors):
    first, second = (n for n in stored["nodes"] if n["op"] == "get_attr")
    tensors[f"{first['target']}.data"] = tensors.pop(second["target"])
    second["target"] = f"{first['target']}.data"


def _other_shape(stored, tensors):
    tensors["kernel"] = torch.ones(8, 3, 3, 4)


def _large_shape(stored, tensors):
    row(stored, "call_function")["val"]["shape"] = [1 << 40] * 60


def _no_input(stored, tensors):
    stored["inputs"].clear()


def _other_input(stored, tensors):
    stored["inputs"][0]["computed"] = {"torch": "int8"}


def _other_call(stored, tensors):
    stored["called"]["kind"] = "list"


def _key(stored, tensors):
    stored["called"]["children"][0]["keys"] = ["x"]


def _deep(stored, tensors):
    for _ in range(50):
        stored["returned"] = {"kind": "tuple", "children": [stored["returned"]], "keys": [], "value": None}


def _meta(stored, tensors):
    row(stored, "call_function")["meta"]["is_wrapped"] = True


def _trace(stored, tensors):
    row(stored, "call_function")["meta"]["stack_trace"] = "text"


def _trained(stored, tensors):
    tensors["kernel"] = tensors["kernel"].long()
    next(n for n in stored["nodes"] if n["target"] == "kernel")["val"]["dtype"] = {"torch": "int64"}


def _key_of_a_class(stored, tensors):
    stored["returned"] = {"kind": "record", "children": [stored["returned"]], "keys": ["a b"], "value": None}


@pytest.mark.parametrize(
    "edit",
    [
        _twice,
        _same_layer,
        _reversed,
        _no_output,
        _early_output,
        _more_outputs,
        _no_tensor,
        _more_tensors,
        _inside,
        _other_shape,
        _large_shape,
        _no_input,
        _other_input,
        _other_call,
        _key,
        _deep,
        _meta,
        _trace,
        _trained,
        _key_of_a_class,
    ],
    ids=lambda edit: edit.__name__.strip("_"),
)
def test_a_graph_goes_together(functional, edit):
    stored, tensors = functional
    edit(stored, tensors)
    refused(stored, tensors)


@pytest.mark.parametrize("stored", [None, [], {}, "graph", 7])
def test_what_is_no_graph(stored):
    refused(stored, {}, "damaged")


class Sizes(torch.nn.Module):
    """Sizes of every kind of arithmetic, constants in inputs and outputs, half-open slices."""

    def forward(self, x, scale):
        half = torch.sym_max(x.shape[1] // 2, 1) + math.floor(x.shape[1] * 0.25)
        y = x[:, :half].reshape(x.shape[0], -1) * scale
        return {0: y.float().masked_fill(y > 1, float("-inf")), "n": (float("inf"), None, [1.5])}


def test_sizes_constants_and_keys_of_other_types():
    model, batch = Sizes().eval(), (torch.randn(3, 8), 2.0)
    captured = capture(model, batch)
    again = round_trip(captured)
    assert again.called == captured.called and again.returned == captured.returned
    x = torch.randn(5, 12), 2.0
    found = again.unflatten(again.module(*again.flatten(x)))
    assert {"torch.sym_max", "math.floor"} <= {n["target"] for n in to_json(again)[0]["nodes"]}
    assert torch.equal(found[0], model(*x)[0]) and found["n"] == (float("inf"), None, [1.5])


class Rare(torch.nn.Module):
    """Ops that the other models lack, each of a kind of its own."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.table = torch.nn.EmbeddingBag(10, 8, mode="max")

    def forward(self, x, ids):
        y, image = self.layer(x), x[:, None]
        spectrum = torch.view_as_real(torch.fft.rfft(y, norm="ortho")).flatten(-2)[..., :8]
        scattered = torch.zeros_like(y).scatter_reduce(1, y.argsort(1), y, "amax")
        scaled = F.interpolate(image, size=(6, 8), mode="bicubic", antialias=True)[:, 0]
        found = torch.searchsorted(torch.tensor([0.0, 1.0]), y, side="right") + torch.bucketize(y, torch.ones(1))
        norm = torch.linalg.norm(y, "fro", dim=(1, 2)) + torch.linalg.svdvals(y).sum(-1)
        logic = ((y > 0) & ~(y > 1)) | (y.int() << 1 == 2)
        written = torch.empty_like(y).copy_(y).index_put((ids[:, 0],), y)
        return [
            torch.einsum("bij,bkj->bik", y, y),
            spectrum,
            scattered,
            scaled,
            found,
            norm,
            logic,
            written,
            F.pad(y, (1, 1), mode="circular"),
            y.topk(2),
            F.gelu(y, approximate="tanh"),
            self.table(ids),
            torch.div(y, 2, rounding_mode="floor"),
            y.contiguous(memory_format=torch.contiguous_format),
            y.masked_fill(y > 0, torch.finfo(torch.float32).min),
            F.rms_norm(y, (8,)),
        ]


def test_rare_ops_can_be_saved_and_read():
    model, batch = Rare().eval(), (torch.randn(4, 6, 8), torch.randint(0, 4, (4, 6)))
    captured = capture(model, batch)
    again = round_trip(captured)
    flat = captured.flatten(batch)
    for a, b in zip(captured.module(*flat), again.module(*flat), strict=True):
        assert torch.equal(a, b)


class Foreign(torch.nn.Module):
    def forward(self, x):
        return torch.ops.qnb_test.twice(x) + 1


def test_what_no_file_can_hold_is_said_when_it_is_saved():
    @torch.library.custom_op("qnb_test::twice", mutates_args=())
    def twice(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    twice.register_fake(torch.empty_like)
    captured = capture(Foreign().eval(), torch.ones(3))
    with pytest.raises(FileError, match="save a graph.*qnb_test.twice"):
        to_json(captured)
    assert "qnb_test.twice.default" in json.dumps(to_json(captured, readable=False)[0])
