"""flow.sensitivity, and the workflow's evaluations on a real Dask cluster: the same bits as without."""

import pandas as pd
import pytest

import qnb
from qnb.columns import SENSITIVITY
from qnb.errors import Cancelled, InputError
from tests.flows import new_flow
from tests.methods.states import CancelAfter, same, state


@pytest.fixture(scope="module")
def flow():
    made = new_flow()
    made.run("w8a8")
    made.run("w4a8")
    return made


@pytest.fixture(scope="module")
def executor():
    distributed = pytest.importorskip("distributed", reason="needs the extra dask")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client.get_executor()


def test_it_shows_as_chart_and_table_and_is_kept(flow):
    found = flow.sensitivity("w4a8")
    assert flow.sensitivities["w4a8"] is found and tuple(found.table.columns) == SENSITIVITY
    assert found.caption().startswith(
        "w4a8: 41 quantizers ranked by fisher sensitivity; the most sensitive: stem.conv (weight)"
    )
    assert found.chart().layout.title.text.startswith("Most sensitive: stem.conv")
    assert "The most sensitive first" in found._repr_html_()


def test_a_run_made_again_forgets_it():
    flow = new_flow()
    flow.run("w8a8")
    flow.sensitivity("w8a8", "sqnr")
    flow.run("w8a8")
    assert not flow.sensitivities


def test_what_cannot_be_asked_is_said(flow, tmp_path):
    with pytest.raises(InputError, match="no simulation"):
        flow.sensitivity("fp32")
    with pytest.raises(InputError, match="use one of"):
        flow.sensitivity("w4a8", "hessian")
    flow.save(tmp_path / "flow.qnb")
    with pytest.raises(InputError, match="without model, data and evaluate"):
        qnb.load(tmp_path / "flow.qnb").sensitivity("w4a8")


@pytest.mark.parametrize("method", ["fisher", "sqnr", "evaluate"])
def test_cancelled_it_leaves_everything_as_it_was(method):
    flow = new_flow()
    sim = flow.run("w4a8").sim
    before = state(sim)
    with pytest.raises(Cancelled):
        flow.sensitivity("w4a8", method, progress=CancelAfter(4))
    assert same(before, state(sim)) and not flow.sensitivities


@pytest.mark.slow
def test_one_quantizer_at_a_time_on_a_cluster_gives_the_same_bits(flow, executor):
    layers = ["stem.conv", "classifier", "blocks.0.*"]
    here = flow.sensitivity("w4a8", "evaluate", layers=layers).table
    there = flow.sensitivity("w4a8", "evaluate", layers=layers, executor=executor).table
    pd.testing.assert_frame_equal(here, there, check_exact=True)


@pytest.mark.slow
def test_candidates_verified_on_a_cluster_are_the_same_bits(flow, executor):
    options = {"candidates": ["w8a8", "w4a8"], "verify": 5}
    here = flow.search_mixed_precision("w8a8", **options).table
    there = flow.search_mixed_precision("w8a8", executor=executor, **options).table
    assert here.measured.notna().sum() == 5
    pd.testing.assert_frame_equal(here, there, check_exact=True)
