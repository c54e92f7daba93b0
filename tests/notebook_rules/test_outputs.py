"""What counts as the same output: numbers within the tolerance, everything else exactly."""

import base64
import copy

import numpy as np
import pytest

from tests.notebook_rules.outputs import PLOTLY, compare_outputs


def stream(text, name="stdout"):
    return [{"output_type": "stream", "name": name, "text": text}]


def data(**mimes):
    return [{"output_type": "display_data", "metadata": {}, "data": mimes}]


def html(text):
    return data(**{"text/plain": "<table>", "text/html": text})


def table(header, value):
    head = f"<thead><tr><th>layer</th><th>{header}</th></tr></thead>"
    return html(f"<table>{head}<tbody><tr><td>conv</td><td>{value:.2f}</td></tr></tbody></table>")


def figure(values, uid="a", title="size (bytes)", kind="list"):
    y = np.asarray(values, dtype=np.float64)
    encoded = {"bdata": base64.b64encode(y.tobytes()).decode(), "dtype": "f8"}
    trace = {"type": "bar", "uid": uid, "x": ["conv", "fc"], "y": encoded if kind == "bdata" else y.tolist()}
    return data(**{PLOTLY: {"data": [trace], "layout": {"yaxis": {"title": {"text": title}}}}})


def same(reference, test):
    return not list(compare_outputs(reference, test))


SHAPES = {
    "text": lambda v: stream(f"mean {v} of the layer"),
    "result": lambda v: data(**{"text/plain": f"array([{v}, 2.0])"}),
    "html": lambda v: html(f"<table><tr><td>conv</td><td>{v}</td></tr></table>"),
    "plotly list": lambda v: figure([v, 20.0]),
    "plotly base64": lambda v: figure([v, 20.0], kind="bdata"),
    "json": lambda v: data(**{"application/json": {"size": v}}),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize(
    ("factor", "passes"), [(1.0, True), (1 + 1e-4, True), (1 - 1e-4, True), (1.01, False), (0.99, False)]
)
def test_tolerance(shape, factor, passes):
    assert same(shape(37.25), shape(37.25 * factor)) == passes


def test_rounding_edges_do_not_part_neighbours():
    assert same(stream("0.4999999"), stream("0.5000001"))
    assert same(stream("1.2499"), stream("1.2501"))


@pytest.mark.parametrize(
    ("reference", "test"),
    [
        (stream("SQNR 8.00 dB"), stream("SQNR 8.04 dB")),
        (figure([8.0, 20.0], title="SQNR (dB)"), figure([8.04, 20.0], title="SQNR (dB)")),
        (table("own sqnr db", 8.00), table("own sqnr db", 8.04)),
        (table("own_sqnr_db", 8.00), table("own_sqnr_db", 8.04)),
        (stream("  layer  sqnr_db\n0  conv     8.00\n"), stream("  layer  sqnr_db\n0  conv     8.04\n")),
    ],
    ids=["text", "plotly axis", "table of qnb.html", "table of pandas", "printed table"],
)
def test_decibels_may_move_by_a_twentieth(reference, test):
    assert same(reference, test)


@pytest.mark.parametrize(
    ("reference", "test"),
    [
        (stream("SQNR 8.00 dB"), stream("SQNR 8.10 dB")),
        (figure([8.0, 20.0], title="SQNR (dB)"), figure([8.1, 20.0], title="SQNR (dB)")),
        (figure([8.0, 9.0]), figure([8.04, 9.0])),
        (table("mean", 8.00), table("mean", 8.04)),
        (stream("8.00 bits"), stream("8.04 bits")),
    ],
    ids=["text beyond", "plotly beyond", "no dB axis", "no dB column", "another unit"],
)
def test_decibels_end_there(reference, test):
    assert not same(reference, test)


@pytest.mark.parametrize(
    ("reference", "test"),
    [
        (stream("verdict: meets the tolerance"), stream("verdict: misses the tolerance")),
        (stream("run w8a8 done"), stream("run w4a8 done")),
        (stream("layer1.0.conv1"), stream("layer1.0.conv2")),
        (stream("524/540"), stream("517/540")),
        (stream("a"), stream("a", name="stderr")),
        (stream("a"), []),
        (stream("a"), stream("a") + stream("b", name="stderr")),
        (html("<b>1</b>"), html("<i>1</i>")),
        (html("<td>conv</td>"), html("<td>fc</td>")),
        (html("<b>1</b>"), data(**{"text/plain": "<table>"})),
        (figure([1.0, 2.0]), figure([1.0, 2.0], title="other")),
        (figure([1.0, 2.0]), figure([1.0, 2.0, 3.0])),
        (figure([1.0, 2.0]), figure([1.0, float("nan")])),
        (stream("inf"), stream("3.0")),
    ],
    ids=[
        *("words", "precision", "layer", "count", "stream", "missing", "extra", "tag", "cell text", "mime"),
        *("title", "length", "nan", "inf"),
    ],
)
def test_differences_that_count(reference, test):
    assert not same(reference, test)


def test_a_changed_trace_or_label_counts():
    reference = figure([1.0, 2.0])
    test = copy.deepcopy(reference)
    test[0]["data"][PLOTLY]["data"][0]["x"][1] = "head"
    assert not same(reference, test)
    test = copy.deepcopy(reference)
    test[0]["data"][PLOTLY]["data"].append({"type": "bar"})
    assert not same(reference, test)


@pytest.mark.parametrize(
    ("reference", "test"),
    [
        (figure([1.0, 2.0], uid="a"), figure([1.0, 2.0], uid="b")),
        (figure([1.0, 2.0]), figure([1.0, 2.0], kind="bdata")),
        (stream("<Thing at 0x7f3a5c001d30>"), stream("<Thing at 0x7f99aa001230>")),
        (stream("/home/a/x/lib.py:12: UserWarning: slow"), stream("/opt/v/lib.py:14: UserWarning: slow")),
        (html("<p>wrote /home/a/x/m.onnx</p>"), html("<p>wrote /tmp/b77/m.onnx</p>")),
        (data(**{"image/png": "AAAA"}), data(**{"image/png": "BBBB"})),
    ],
    ids=["uid", "list or base64", "address", "warning", "path in HTML", "picture"],
)
def test_differences_that_do_not_count(reference, test):
    assert same(reference, test)


def test_one_point_of_many_may_cross_a_rounding_boundary():
    values = np.linspace(1.0, 2.0, 200)
    moved = values.copy()
    moved[17] += 0.1
    assert same(figure(values), figure(moved))
    moved[:10] += 0.1
    assert not same(figure(values), figure(moved))
