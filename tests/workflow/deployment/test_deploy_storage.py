"""A saved workflow keeps what was deployed and measured."""

import json
import math
import zipfile

import pandas as pd
import pytest

import qnb
from qnb.runtimes import Latency
from qnb.workflow.deployment.performance import Performance
from tests.flows import deployment, new_flow


@pytest.fixture(scope="module")
def flow():
    made = new_flow()
    made.run("w8a8")
    deployment(
        made,
        db=math.inf,
        exact=pd.DataFrame({"layer": ["output"], "op": ["output"], "equal_fraction": [1.0]}),
        fallback_nodes=("a",),
        note="No latency.",
    )
    made.performance["fp32"] = Performance(400, Latency(0.5, 0.4, 0.6, 30, 1, "onnxruntime"))
    made.performance["w8a8"] = Performance(100, note="why not")
    return made


def test_the_same_again(flow, tmp_path):
    flow.save(tmp_path / "x.qnb")
    loaded = qnb.load(tmp_path / "x.qnb")
    before, after = flow.deployments["w8a8"], loaded.deployments["w8a8"]
    assert repr(after) == repr(before) and after.settings == before.settings
    pd.testing.assert_frame_equal(after["htp"].fidelity, before["htp"].fidelity)
    pd.testing.assert_frame_equal(after["htp"].exact, before["htp"].exact)
    assert after["htp"].score == before["htp"].score and after["htp"].latency == before["htp"].latency
    assert after["htp"].fallback_nodes == ("a",) and math.isnan(after["htp"].drop.low)
    assert loaded.performance == flow.performance
    pd.testing.assert_frame_equal(loaded.summary(), flow.summary())
    assert "from a file" in repr(loaded.panel()) and "35 dB" not in repr(loaded.deploy_panel())


def test_the_dashboard_shows_it(flow, tmp_path):
    flow.save(tmp_path / "x.qnb")
    with zipfile.ZipFile(tmp_path / "x.qnb") as archive:
        text = archive.read("document.json").decode()
    assert "w8a8 deployed: the simulation agrees (lossless)" in json.loads(json.dumps(text)) and "w8a8.onnx" in text
