"""Graphs to JSON and back; files from strangers."""

import json

import pytest
import torch

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
    metas = [[{k: n.meta.get(k) for k in ("layer", "op", "module", "source", "shape")} for n in c.module.graph.nodes]
             for c in (captured, again)]  # fmt: skip
    assert metas[0] == metas[1] and again.inputs == captured.inputs and again.limits == captured.limits


def test_outputs_keep_their_form_without_the_users_classes():
    model, batch = zoo()["attention"]
    again = round_trip(capture(model, batch))
    _, kwargs = as_call(batch)
    out = again.unflatten(again.module(*again.flatten_call((), kwargs, "test")))
    assert set(out) == {"logits", "hidden", "loss"} and out.logits.shape == (4, 4) and out.loss is None
    assert len(flatten(out)[0]) == 2


@pytest.mark.parametrize(
    "target", ["os.system", "aten.from_file.default", "builtins.eval", "torch.load", "aten.__dict__.x", "aten.conv2d"]
)
def test_a_file_names_no_function_but_the_allowed(target):
    stored, tensors = to_json(capture(*zoo()["functional"]))
    next(n for n in stored["nodes"] if n["op"] == "call_function")["target"] = target
    with pytest.raises(FileError, match="may not name|does not have"):
        from_json(stored, tensors)


def test_modules_cannot_be_smuggled_in():
    stored, tensors = to_json(capture(*zoo()["functional"]))
    next(n for n in stored["nodes"] if n["op"] == "call_function")["op"] = "call_method"
    with pytest.raises(FileError, match="call_method"):
        from_json(stored, tensors)
