"""flow.diff: two runs side by side, said with the doubt that their metrics have."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest, wilcoxon

import qnb
from qnb.columns import DIFF, DIFF_COSTS, DIFF_ENCODINGS, DIFF_SAMPLES, DIFF_SETTINGS
from qnb.document import MIME
from qnb.errors import InputError
from qnb.runtimes import Latency
from qnb.workflow.deployment.performance import Performance
from tests.flows import EVIL, evil_flow, new_flow
from tests.workflow.stubs import stub_flow, stub_run


@pytest.fixture(scope="module")
def flow():
    """w8a8, the same again, by MSE, and a w4a8 with its recovery."""
    flow = new_flow()
    flow.run("w8a8")
    flow.run("w8a8", name="again")
    flow.run("w8a8", name="mse", calibration_method="mse")
    flow.run("w4a8", layers={"classifier": "w8a8"})
    flow.recover("w4a8+1", ["equalize", "correct_bias"], name="recovered")
    return flow


def scored(name, score, **changes):
    """A stub of a run with this score."""
    return replace(stub_run(name, "pass", "w8a8"), score=score, **changes)


def shares(*right):
    return qnb.Score(sum(right) / len(right), per_sample=right)


def between(a, b):
    return stub_flow(scored("a", a), scored("b", b)).diff("a", "b")


class TestMetric:
    def test_shares_are_tested_by_mcnemar_between_the_two_runs(self, flow):
        found = flow.diff("w4a8+1", "recovered")
        a, b = (np.array(flow[name].score.per_sample) for name in ("w4a8+1", "recovered"))
        worse, better = int((a > b).sum()), int((b > a).sum())
        assert found.metric.paired and found.metric.p_value == binomtest(worse, worse + better).pvalue < 0.05
        assert found.metric.value == pytest.approx(a.mean() - b.mean()) and found.verdict == "better"
        assert f"{better} of 540 samples better, {worse} worse" in found.caption()
        assert tuple(found.samples.columns) == DIFF_SAMPLES
        assert list(found.samples["sample"]) == np.flatnonzero(a != b).tolist()
        assert list(found.samples.value_a) == a[a != b].tolist() and list(found.samples.value_b) == b[a != b].tolist()

    def test_the_other_way_round_it_is_as_much_worse(self, flow):
        there, back = flow.diff("w4a8+1", "recovered"), flow.diff("recovered", "w4a8+1")
        assert back.metric.value == -there.metric.value and back.metric.p_value == there.metric.p_value
        assert back.verdict == "worse" and back.caption().startswith("w4a8+1 is worse than recovered: loses ")
        assert there.caption().startswith("recovered is better than w4a8+1: gains ")
        assert there.document().tone == "good" and back.document().tone == "bad"

    def test_other_numbers_are_tested_by_wilcoxon_and_less_may_be_better(self):
        rng = np.random.default_rng(0)
        a = rng.gamma(2.0, size=80)
        b = a - 0.1 + 0.05 * rng.normal(size=80)
        scores = [qnb.Score(v.mean(), per_sample=v.tolist(), higher_is_better=False) for v in (a, b)]
        found = between(*scores)
        assert found.metric.p_value == wilcoxon(b - a).pvalue and found.verdict == "better"
        assert found.caption().startswith("b is better than a: gains 0.1") and len(found.samples) == 80
        largest = np.abs(found.samples.value_b - found.samples.value_a).to_numpy()
        assert (np.diff(largest) <= 0).all() and found.samples["change"][0] == "better"

    def test_a_difference_within_its_noise_is_none(self):
        right = [1.0] * 90 + [0.0] * 10
        found = between(shares(*right), shares(*[0.0, *right[1:-2], 1.0, 1.0]))
        assert found.verdict == "none" and found.metric.value == pytest.approx(-0.01)
        assert "no measurable difference in the metric (gain 0.01, 95 % interval" in found.caption()
        assert "2 of 100 samples better, 1 worse" in found.caption() and found.document().tone == "neutral"

    def test_without_samples_there_is_no_verdict(self):
        found = between(qnb.Score(2.0), qnb.Score(1.5))
        assert found.verdict == "unknown" and found.samples.empty
        assert "the metric is 0.5 worse (no interval to judge it by: return qnb.Score with per_sample)" in repr(found)
        assert between(qnb.Score(2.0), qnb.Score(2.0)).verdict == "same"
        found = between(qnb.Score(0.9, 500), qnb.Score(0.5, 500))
        assert found.verdict == "worse" and "not paired" in found.caption() and found.samples.empty

    def test_metrics_of_other_directions_do_not_compare(self):
        found = between(qnb.Score(0.9, 500), qnb.Score(0.1, 500, higher_is_better=False))
        assert found.metric is None and found.verdict == "unknown" and "do not compare" in found.caption()


class TestLayers:
    def test_gains_are_those_of_the_runs_tables(self, flow):
        found = flow.diff("w4a8+1", "recovered")
        before, after = (flow[name].comparison for name in ("w4a8+1", "recovered"))
        assert tuple(found.layers.columns) == DIFF and found.table is found.layers
        assert list(found.layers.layer) == list(before.layer)
        np.testing.assert_array_equal(found.layers.own_gain_db, after.own_sqnr_db - before.own_sqnr_db)
        np.testing.assert_array_equal(found.layers.gain_db, after.sqnr_db - before.sqnr_db)
        won = int((found.layers.own_gain_db >= 0.5).sum())
        assert won and f"{won} of {len(before)} layers won" in found.caption()
        assert found.chart().layout.title.text.startswith(f"{won} of {len(before)} layers won")

    def test_each_layers_precision(self, flow):
        frame = flow.diff("w8a8", "w4a8+1").layers.set_index("layer")
        assert list(frame.loc["classifier", ["precision_a", "precision_b"]]) == ["w8a8", "w8a8"]
        assert list(frame.loc["stem.conv", ["precision_a", "precision_b"]]) == ["w8a8", "w4a8"]
        assert list(frame.loc["blocks.0.add", ["precision_a", "precision_b"]]) == ["a8", "a8"]

    def test_runs_with_other_layers(self):
        flow = stub_flow(scored("a", qnb.Score(0.9, 500)), scored("b", qnb.Score(0.9, 500)))
        other = pd.DataFrame({"layer": ["stem.conv", "pool"], "sqnr_db": [9.0, 1.0], "own_sqnr_db": [50.0, 1.0]})
        flow.runs = flow.runs | {"b": replace(flow["b"], comparison=other)}
        found = flow.diff("a", "b")
        assert list(found.layers.layer) == ["stem.conv", "head", "pool"]
        assert list(found.layers.change) == ["same", "only a", "only b"]
        assert "1 only in a, 1 only in b" in found.caption() and found.verdict == "none"

    def test_runs_that_were_not_compared_with_fp32(self):
        unknown = [scored(name, qnb.Score(0.9, 500), comparison=None) for name in "ab"]
        found = stub_flow(*unknown).diff("a", "b")
        assert found.layers.empty and "layer" not in found.caption() and found.document().text()
        assert "No layers to compare" in found.chart().layout.annotations[0].text


def test_a_run_against_itself_and_against_its_twin(flow):
    for other in ("w8a8", "again"):
        found = flow.diff("w8a8", other)
        assert found.verdict == "same" and repr(found) == f"w8a8 and {other}: no difference"
        assert found.encodings.empty and found.samples.empty and found.settings.empty
        assert set(found.layers.change) == {"same"} and not found.layers.own_gain_db.any()
        assert found._repr_html_() and found.chart().layout.title.text == "No layer changed by 0.5 dB or more"


def test_encodings_that_another_calibration_method_changed(flow):
    found = flow.diff("w8a8", "mse")
    a, b = (flow[name].sim.encodings().set_index("tensor") for name in ("w8a8", "mse"))
    assert tuple(found.encodings.columns) == DIFF_ENCODINGS and found.encodings_compared == len(a)
    outputs = found.encodings[found.encodings.kind == "activation"]
    moved = [t for t in a.index[a.kind == "activation"] if (a["min"][t], a["max"][t]) != (b["min"][t], b["max"][t])]
    assert moved and list(outputs.tensor) == moved and set(outputs["change"]) == {"range"}
    for row in outputs.itertuples():
        width, other = a["max"][row.tensor] - a["min"][row.tensor], b["max"][row.tensor] - b["min"][row.tensor]
        assert row.range_change_percent == pytest.approx(100 * (other / width - 1))
    assert not (found.encodings.kind == "weight").any(), "the method is that of activations"
    assert found.settings.values.tolist() == [["calibration method", "minmax", "mse"]]
    assert f"{len(found.encodings)} of {len(a)} encodings changed" in found.caption()


def test_the_headline_reads_no_encodings(flow, monkeypatch):
    found = flow.diff("w8a8", "mse")
    said = found.caption().replace(f"; {len(found.encodings)} of {found.encodings_compared} encodings changed", "")
    found = flow.diff("w8a8", "mse")
    monkeypatch.setattr(type(flow["mse"].sim), "encodings", None)
    assert found.headline() == said


def test_settings_and_recovery_that_differ(flow):
    found = flow.diff("w4a8+1", "recovered").settings
    assert tuple(found.columns) == DIFF_SETTINGS
    rows = found.set_index("setting").T.to_dict("list")
    assert list(rows) == ["recovery", "from"] and rows["from"] == ["", "w4a8+1"]
    assert rows["recovery"][0] == "" and rows["recovery"][1].startswith("equalize") and "correct_bias" in str(rows)
    rows = flow.diff("w8a8", "w4a8+1").settings.set_index("setting").T.to_dict("list")
    assert rows["precision"] == ["w8a8", "w4a8"] and rows["layers"] == ["", "classifier: w8a8"]
    assert rows["precision of layers"] == ["w8a8 (18), a8 (4)", "w4a8 (17), a8 (4), w8a8 (1)"]


class TestCosts:
    def test_the_difference_is_the_second_runs_minus_the_firsts(self, flow):
        found = flow.diff("w8a8", "w4a8+1")
        assert tuple(found.costs.columns) == DIFF_COSTS and list(found.costs["run"]) == ["w8a8", "w4a8+1", "difference"]
        a, b, difference = found.costs.to_dict("records")
        assert a["size_bytes"] == flow["w8a8"].size_bytes and difference["macs"] == 0
        assert b["bops"] == flow["w4a8+1"].cost.bops.sum() and difference["size_bytes"] == b["size_bytes"] - 4616 < 0
        assert difference["seconds"] == pytest.approx(b["seconds"] - a["seconds"])
        assert pd.isna(difference["file_bytes"]) and math.isnan(difference["latency_ms"])
        assert "size 4.62 kB → " in found.caption()
        text = found.document().text()
        assert "MACs" in text and "(-3" in text and "latency" not in text and "timed once" in text

    @pytest.mark.parametrize(
        ("latency", "said"),
        [
            (Latency(1.1, 1.0, 1.4, 30, 1, "onnxruntime"), "none measurable"),
            (Latency(0.5, 0.4, 0.7, 30, 1, "onnxruntime"), "-0.5 ms (-50 %)"),
            (Latency(0.5, 0.4, 0.7, 30, 4, "onnxruntime"), "not timed alike"),
            (None, ""),
        ],
    )
    def test_a_latency_within_its_noise_is_no_difference(self, latency, said):
        flow = stub_flow(stub_run("w8a8", "pass"), stub_run("w4a8", "pass"))
        flow.performance = {
            "w8a8": Performance(1000, Latency(1.0, 0.8, 1.2, 30, 1, "onnxruntime")),
            "w4a8": Performance(700, latency),
        }
        found = flow.diff("w8a8", "w4a8")
        assert found.costs["file_bytes"].tolist() == [1000, 700, -300]
        table = next(b for b in found.document().blocks if getattr(b, "caption", "") == "What each costs").frame
        rows = table.set_index("cost").difference
        assert rows["latency"] == said and rows["file"] == "-300 bytes (-30 %)" and rows["MACs"] == "none"


def test_it_works_on_a_workflow_from_a_file(flow, tmp_path):
    flow.save(tmp_path / "flow.qnb")
    loaded, found = qnb.load(tmp_path / "flow.qnb"), flow.diff("w8a8", "recovered")
    other = loaded.diff("w8a8", "recovered")
    assert loaded.model is None and other.caption() == found.caption() and other.metric == found.metric
    for name in ("layers", "encodings", "samples", "costs", "settings"):
        pd.testing.assert_frame_equal(getattr(other, name), getattr(found, name), check_dtype=False)
    assert other.document().text() == found.document().text()


def test_nothing_is_computed_and_nothing_changes(flow):
    before, evaluated = dict(flow.runs), []
    evaluate, flow.evaluate = flow.evaluate, lambda model: evaluated.append(model)
    encodings = flow["w8a8"].sim.encodings()
    flow.diff("w8a8", "mse").document()
    flow.evaluate = evaluate
    assert not evaluated and all(flow.runs[name] is run for name, run in before.items()) and len(flow.runs) == 6
    pd.testing.assert_frame_equal(flow["w8a8"].sim.encodings(), encodings)


def test_unknown_runs_and_the_reference(flow):
    with pytest.raises(InputError, match="no run 'recoverd'.*Did you mean 'recovered'"):
        flow.diff("w8a8", "recoverd")
    with pytest.raises(InputError, match=r"no run 'w8a9'.*Did you mean 'w8a8'"):
        flow.diff("w8a9", "w8a8")
    for pair in (("fp32", "w8a8"), ("w8a8", "fp32")):
        with pytest.raises(InputError, match=r"flow\.diff: 'fp32', which is the reference itself.*flow\.compare"):
            flow.diff(*pair)


def test_it_shows_as_chart_text_and_tables(flow):
    found = flow.diff("w8a8", "recovered")
    bundle = found.document().bundle()
    assert set(bundle) == {"text/plain", "text/html", MIME} and bundle[MIME]["title"] == found.caption()
    for words in ("What each costs", "Made with", "Encodings that changed", "Samples that changed", "lost most"):
        assert words in bundle["text/html"] and words in str(bundle[MIME])
    assert "<script" not in bundle["text/html"] and len(bundle["text/html"]) < 60_000
    assert len(found.figures()) == 1 and found.chart(own=False).layout.yaxis.title.text == "gain in SQNR (dB)"


def test_names_from_outside_stay_text():
    flow = evil_flow()
    flow.run("w4a8", name=f"{EVIL} 2")
    found = flow.diff(EVIL, f"{EVIL} 2")
    assert "<img" not in found._repr_html_() and "<img" not in found.chart().to_json()


@pytest.mark.parametrize("names", [("difference", "cost"), ("a", "b"), ("setting", "a")])
def test_a_run_may_be_called_as_a_column_is(names):
    flow = stub_flow(*(scored(name, qnb.Score(v, 500)) for name, v in zip(names, (0.9, 0.5), strict=True)))
    assert flow.diff(*names).document().text() and flow.diff(*names)._repr_html_()
