"""What compare, layer and chart show: figures, and text and HTML where there is no browser."""

import json

import pytest

import qnb
from qnb.errors import InputError
from qnb.workflow.documents.display import PLOTLY
from tests.flows import EVIL, evil_flow


@pytest.fixture(scope="module")
def flow():
    demo = qnb.demo.digits()
    flow = qnb.Workflow(demo.model, demo.calibration[:2], demo.evaluate)
    flow.run("w8a8")
    flow.run("w4a8")
    return flow


def shown(thing):
    """What a notebook would get."""
    from IPython.core.displaypub import CapturingDisplayPublisher
    from IPython.testing.globalipapp import get_ipython, start_ipython

    shell = start_ipython() or get_ipython()
    shell.display_pub, before = CapturingDisplayPublisher(), shell.display_pub
    try:
        thing._ipython_display_()
        return [output["data"] for output in shell.display_pub.outputs]
    finally:
        shell.display_pub = before


def test_one_run_is_a_chart_and_a_table(flow):
    comparison = flow.compare("w4a8")
    assert comparison.table is flow["w4a8"].comparison
    chart, table = shown(comparison)
    assert list(chart[PLOTLY]["data"][0]["x"]) == list(comparison.table.layer)
    assert "<script" not in json.dumps(chart) + json.dumps(table) and "stem.conv" in table["text/plain"]


def test_several_runs_share_a_table(flow):
    table = flow.compare("w8a8", "w4a8").table
    assert list(table.columns)[0] == "run" and set(table.run) == {"w8a8", "w4a8"}
    assert len(flow.compare("w8a8", "w4a8").chart().data) == 2


def test_without_a_name_it_is_the_last_run(flow):
    assert list(flow.compare().frames) == ["w4a8"]


def test_a_layer_shows_values_and_weights(flow):
    view = flow.layer("w4a8", "stem.conv")
    assert len(view.figures()) == 3 and "dB" in repr(view)
    assert len(flow.layer("w4a8", "blocks.0.add").figures()) == 2, "an add has no weights"
    with pytest.raises(InputError, match="Did you mean|no layer"):
        flow.layer("w4a8", "stem.con")
    with pytest.raises(InputError, match="no simulation"):
        flow.layer("fp32", "stem.conv")


def test_names_are_escaped():
    flow = evil_flow()
    flow.check()
    run = flow[EVIL]
    cards = [flow, run, flow.check_result, run.sim, flow.compare(EVIL), flow.layer(EVIL, run.weakest_layer[0])]
    for thing in cards:
        assert "<img" not in thing._repr_html_()


def test_the_reference_has_nothing_to_compare(flow):
    with pytest.raises(InputError, match="reference itself"):
        flow.compare("fp32")


def test_chart_has_a_point_per_run(flow):
    texts = [t for trace in flow.chart().data for t in (trace.text or ())]
    assert sorted(texts) == ["fp32", "w4a8", "w8a8"]
