"""Names and values that are wrong, and what the message says instead."""

import pytest

from qnb.arguments import check_kind, check_options, did_you_mean, instead, nearest, one_of, short, whole
from qnb.errors import InputError, PrecisionError
from qnb.numerics import Precision

RULES = ["minmax", "percentile", "sqnr", "mse"]


@pytest.mark.parametrize(
    ("given", "near"),
    [
        ("MSE", "mse"),
        ("perc", "percentile"),
        ("min_max", "minmax"),
        ("entropy", None),
        ("", None),
        (3, None),
        ("m" * 100_000, None),
    ],
    ids=str,
)
def test_the_nearest_name(given, near):
    assert nearest(given, RULES) == ([near] if near else [])
    assert (repr(near) in did_you_mean(given, RULES)) == (near is not None)
    assert instead(given, RULES).startswith("Did you mean" if near else "use one of minmax, ")


def test_names_that_begin_otherwise_must_be_nearer():
    assert nearest("iterations", ["mixed_precision", "train", "loader"]) == []
    assert nearest("qqd", ["qdq", "fp16"]) == ["qdq"] and nearest("xercentile", RULES) == ["percentile"]


def test_of_several_the_nearest_come_first():
    assert nearest("layer1", ["layer2.conv", "layer1.conv", "layer1.add"], most=2) == ["layer1.conv", "layer1.add"]
    assert did_you_mean("stem.con", ["stem.conv", "stem.relu"], most=2, cutoff=0.4).count(" or ") == 1


def test_an_unknown_option_is_named_with_its_value():
    with pytest.raises(InputError) as caught:
        check_options("step", {"iterations": 3, "bloks": True}, ["iterations", "blocks"], "adaround")
    said = "step: unknown option bloks=True. Did you mean blocks=True? adaround takes iterations, blocks."
    assert str(caught.value) == said
    with pytest.raises(InputError, match=r"step: unknown option x=1\. To fix: minmax takes no options\.$"):
        check_options("step", {"x": 1}, [], "minmax")


@pytest.mark.parametrize(("value", "like"), [("5", 3), (1.5, 3), (True, 3), (1, True), ("x", 0.5), (False, 0.5)])
def test_values_are_of_the_defaults_kind(value, like):
    with pytest.raises(InputError, match="step: option="):
        check_kind("step", "option", value, like)


@pytest.mark.parametrize(("value", "like"), [(5, 3), (-5, 3), (False, True), (1, 0.5), (0.5, 0.5), ("x", None)])
def test_values_of_the_defaults_kind_pass(value, like):
    check_kind("step", "option", value, like)


def test_whole_numbers_and_choices():
    whole("step", "runs", 1)
    for value in (0, -1, 1.0, "1", None, True):
        with pytest.raises(InputError, match="whole number of 1 or more"):
            whole("step", "runs", value)
    one_of("step", "form", "qdq", ["qdq", "fp16"])
    with pytest.raises(InputError, match=r"form='qqd'\. Did you mean 'qdq'\?"):
        one_of("step", "form", "qqd", ["qdq", "fp16"])


def test_long_values_are_cut():
    assert len(short("x" * 1000)) < 70 and short("x" * 1000).endswith("…") and short(3) == "3"


@pytest.mark.parametrize(
    ("given", "near"),
    [
        ("int8", "w8a8"),
        ("INT4", "w4a8"),
        ("a8w4", "w4a8"),
        ("w1a8", "w2a8"),
        ("w8a17", "w8a16"),
        ("half", "fp16"),
        ("float32", "fp32"),
        ("bfloat16", "bf16"),
        ("e5m2", "fp8_e5m2"),
        ("w8", "w8a8"),
        ("w8-a16", "w8a16"),
    ],
)
def test_what_a_wrong_precision_means(given, near):
    with pytest.raises(PrecisionError, match=rf"unknown precision '{given}'\. Did you mean '{near}'\?"):
        Precision.parse(given)


def test_a_question_is_no_instruction():
    assert str(InputError("a", "b", "Did you mean 'c'?")) == "a: b. Did you mean 'c'?"
    assert str(InputError("a", "b", "do c.")) == "a: b. To fix: do c."
