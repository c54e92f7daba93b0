"""The mixed precision panel without a browser: search, slide, verify, keep."""

import pytest

from qnb.document import MIME
from qnb.errors import InputError
from qnb.panels.base import LIVE
from tests.flows import new_flow
from tests.panels.test_panels import settle


@pytest.fixture(scope="module")
def flow():
    made = new_flow()
    made.run("w8a8")
    return made


@pytest.fixture(scope="module")
def found(flow):
    return flow.search_mixed_precision("w8a8", candidates=["w8a8", "w4a8"], verify=2)


@pytest.fixture
def panel(flow, found):
    made = flow.precision_panel("w8a8")
    yield made
    made.close()


def test_before_a_search_it_says_what_to_do():
    flow = new_flow()
    panel = flow.precision_panel()
    assert "No run yet" in panel.empty.value and panel.search.disabled and panel.found.layout.display == "none"
    flow.run("w8a8")
    assert "No search from w8a8 yet" in panel.empty.value and not panel.search.disabled
    assert "flow.search_mixed_precision('w8a8')" in repr(panel)
    panel.close()


def test_the_search_button(flow):
    panel = flow.precision_panel("w8a8")
    panel.cost.value = "weight_bytes"
    panel.search.click()
    assert panel.search.disabled
    settle(flow)
    assert flow.pareto_fronts["w8a8"].front.choices.cost == "weight_bytes" and panel.found.layout.display is None
    assert flow.pareto_fronts["w8a8"].chart().layout.xaxis.title.text == "bytes of weights"
    assert panel.codes == ["flow.search_mixed_precision('w8a8', cost='weight_bytes')"]
    panel.close()


class TestFound:
    @pytest.fixture(autouse=True)
    def kept(self, flow, found):
        flow.pareto_fronts["w8a8"] = found

    def test_the_slider_chooses(self, flow, panel, found):
        panel.slider.value = 3
        assert found.chosen == 3 and "point 3 costs" in panel.caption.value
        assert found.cost_text() in panel.read.value and "budget=" in panel.code.code
        panel.plot._heard(None, {"kind": "click", "curve": 0, "place": 5}, [])
        assert found.chosen == 5 == panel.slider.value
        panel.plot._heard(None, {"kind": "click", "curve": 1, "place": 2}, [])
        assert found.chosen == 5, "the second curve holds measured points, which are fewer"

    def test_verify_measures_the_point(self, flow, panel, found):
        panel.slider.value = 4
        assert 4 not in found.front.scores
        panel.verify.click()
        settle(flow)
        assert 4 in found.front.scores and "measured drop" in panel.caption.value
        assert panel.codes == ["flow.pareto_fronts['w8a8'].verify(4)"]

    def test_keep_makes_a_run_and_its_code_makes_the_same(self, flow, panel, found):
        panel.slider.value = 2
        panel.keep.click()
        settle(flow)
        kept = flow["w8a8+mixed-2"]
        assert kept.sim.applied_methods == ("mixed_precision",) and kept.settings["from"] == "w8a8"
        assert kept.cost.bops.sum() == pytest.approx(found.front.points[2].cost)
        again = eval(panel.codes[-1][:-1] + ", name='again')", {"flow": flow})
        assert again.score == kept.score and again.output_sqnr_db == kept.output_sqnr_db

    def test_cancel(self, flow, panel, found):
        panel.verify.click()
        panel.job.cancel.click()
        settle(flow)
        assert flow.job.status in ("cancelled", "done") and flow.pareto_fronts["w8a8"] is found

    def test_written_form(self, panel, found):
        bundle = panel._repr_mimebundle_()
        assert {"text/plain", "text/html", MIME, LIVE} <= set(bundle)
        assert "Points measured" in bundle["text/html"] and bundle["text/html"].count("svg+xml") == 2

    def test_a_point_that_is_none(self, found):
        with pytest.raises(InputError, match="choose one of 0 to"):
            found.choose(1000)


def test_a_saved_workflow_holds_the_kept_run(flow, found, tmp_path):
    import qnb

    if "w8a8+mixed-1" not in flow:
        found.keep(1)
    flow.save(tmp_path / "flow.qnb")
    loaded = qnb.load(tmp_path / "flow.qnb")["w8a8+mixed-1"]
    tables = loaded.recovery[0].tables
    assert set(tables) == {"front", "bits"} and len(tables["front"]) == len(found.front)


def test_the_code_of_a_search_with_a_cost_of_ones_own_names_it(flow):
    def bits(layers):
        return layers.weight_bits.fillna(0)

    found = flow.search_mixed_precision("w8a8", candidates=["w8a8", "w4a8"], cost=bits, verify=0)
    assert ", cost=bits" in found.code() and 'candidates=["w8a8", "w4a8"]' in found.code()
    kept = found.keep(0, name="by my cost")
    assert kept.recovery[0].options["cost"] == "bits" and kept.recovery[0].options["candidates"] == ["w8a8", "w4a8"]
