"""From a run of several precisions to Qualcomm's HTP, emulated."""

import json

import pytest

from tests.flows import new_flow

LAYERS = {"stem.*": "w8a16", "blocks.2.*": "w8a16", "classifier": "w8a16"}


@pytest.mark.parametrize("integer_io", [False, True], ids=["floats", "codes"])
def test_a_mixed_run_runs_on_htp(htp, tmp_path, integer_io):
    flow = new_flow()
    flow.run("w8a8", layers=LAYERS, name="mixed")
    found = flow.deploy("mixed", tmp_path, samples=8, evaluate=False, integer_io=integer_io)
    on = found["htp"]
    assert on.status == "completed" and set(on.placement) == {"HTP"} and not on.fallback_nodes
    output = on.fidelity[on.fidelity.op == "output"].iloc[0]
    assert output.sqnr_db >= 30 and output.top1_agreement == 1
    assert found.files.file.str.endswith(".bin").any()
    (path,) = tmp_path.glob("*.encodings")
    bits = {entry["name"]: entry["bw"] for entry in json.loads(path.read_text())["activation_encodings"]}
    assert bits["x"] == 8 and bits["stem.conv"] == 16 and not any("_wide" in name for name in bits)
