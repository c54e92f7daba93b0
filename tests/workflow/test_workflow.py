"""The workflow as its users meet it: steps, verdicts, cancelling, files, bad input."""

import math
from dataclasses import replace

import pandas as pd
import pytest
import torch

import qnb
from qnb import columns
from qnb.errors import Cancelled, CaptureError, EvaluateError, FileError, InputError, PrecisionError, TargetError
from qnb.workflow.verdict import Verdict
from tests.models import MobileNetV2, images, warmed_up


@pytest.fixture(scope="module")
def data():
    """A model, images, and labels that are the model's own answers where it is sure of them."""
    torch.manual_seed(0)
    model = warmed_up(MobileNetV2(), images(64))
    found = torch.cat([images(32, seed=i) for i in range(6)])
    with torch.no_grad():  # an untrained net favours one class: take its mean answer away
        logits = model(found)
        model.classifier[1].bias -= logits.mean(0)
        first, second = (logits - logits.mean(0)).topk(2).values.T
        sure = found[(first - second).argsort(descending=True)[:96].sort().values]
        batches = list(sure.split(32))
        labelled = [(x, model(x).argmax(1)) for x in batches]
    return model, batches, labelled


@pytest.fixture
def flow(data):
    model, batches, labelled = data
    return qnb.Workflow(model, batches, qnb.accuracy(labelled), tolerance=0.05, target="htp-v75")


@pytest.fixture(scope="module")
def finished(data):
    model, batches, labelled = data
    flow = qnb.Workflow(model, qnb.inputs(labelled), qnb.accuracy(labelled), tolerance=0.05)
    flow.check()
    for precision in ("fp16", "w16a16", "w8a16", "w8a8", "w2a4"):
        flow.run(precision)
    return flow


def test_every_step_gives_a_row(finished):
    table = finished.summary()
    assert tuple(table.columns) == columns.SUMMARY
    assert list(table.run) == ["fp32", "fp16", "w16a16", "w8a16", "w8a8", "w2a4"]
    assert (table.n == 96).all() and (table.low <= table.metric).all() and (table.metric <= table.high).all()


def test_sizes_and_operations_fall_with_bits(finished):
    table = finished.summary().set_index("run")
    assert table.size_bytes["fp16"] * 2 == table.size_bytes["fp32"]
    assert table.size_bytes["w2a4"] < table.size_bytes["w8a8"] < table.size_bytes["w16a16"] < table.size_bytes["fp32"]
    assert table.bops["w8a8"] * 2 == table.bops["w8a16"] and table.macs.nunique() == 1


def test_macs_are_those_counted_by_hand():
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(4 * 6 * 6, 5)).eval()
    x = torch.randn(2, 3, 8, 8)
    run = qnb.Workflow(model, [x], lambda m: 1.0).run("w4a8")
    macs = 4 * 6 * 6 * 27 + 4 * 36 * 5
    assert run.cost.macs.sum() == macs and run.cost.bops.sum() == macs * 4 * 8
    assert run.size_bytes == (4 * 27 + 4 * 36 * 5) / 2 + 4 * (4 + 5)


def test_verdicts(finished):
    assert finished["w16a16"].verdict.status == "pass" and "agrees with FP32" in finished["w16a16"].verdict.text
    assert finished["w2a4"].verdict.status == "fail" and "more than the tolerance" in finished["w2a4"].verdict.text


def test_a_control_that_does_not_agree_says_where_it_parts(data):
    model, batches, labelled = data
    from qnb.measures import Score
    from qnb.workflow.verdict import judge, judge_control

    table = qnb.compare_layers(qnb.QuantSim(model, batches[0], "w4a4").calibrate(batches), batches)
    drop, metric = judge(Score(0.9, 100), Score(0.4, 100), 0.01)
    verdict = judge_control(drop, metric, table, table.sqnr_db.iloc[-1])
    assert verdict.status == "fail" and "does not agree" in verdict.text
    assert repr(table.layer[table.sqnr_db < 40].iloc[0]) in verdict.text


def test_fp16_names_layers_that_overflow_or_vanish():
    class Loud(torch.nn.Module):
        def forward(self, x):
            return torch.tanh((x * 3e5 + 1.0) * 1e-5) + (torch.sigmoid(x) - 1e-9) * 1e-9

    x = torch.randn(16, 4)
    run = qnb.Workflow(Loud().eval(), [x], lambda m: float(m(x).nan_to_num().mean())).run("fp16")
    assert run.overflowing == ["add"] and "add" in repr(run)
    assert run.underflowing == [], "a product with a scalar has no layer of its own"
    silent = qnb.Workflow(torch.nn.Tanh().eval(), [x * 1e-9], lambda m: 1.0).run("fp16")
    assert silent.underflowing == ["tanh"]


def test_rerunning_a_step_replaces_that_step_only(flow):
    flow.run("w8a8")
    before, reference = flow["w8a8"], flow["fp32"]
    flow.run("w4a8")
    flow.run("w8a8", calibration_method="mse")
    assert flow["w8a8"] is not before and flow["fp32"] is reference
    assert list(flow.runs) == ["fp32", "w8a8", "w4a8"]


def test_order_of_cells_does_not_matter(data):
    model, batches, labelled = data

    def metrics(order):
        flow = qnb.Workflow(model, batches, qnb.accuracy(labelled))
        for precision in order:
            flow.run(precision)
        return flow.summary().set_index("run").sort_index()

    assert metrics(["w8a8", "w4a8", "fp16"]).equals(metrics(["fp16", "w4a8", "w8a8"]))


def test_the_same_numbers_again(flow, data):
    first = flow.run("w4a8", calibration_method="percentile")
    state = torch.get_rng_state()
    again = flow.run("w4a8", calibration_method="percentile")
    assert first.comparison.equals(again.comparison) and first.settings == again.settings
    assert torch.equal(state, torch.get_rng_state()), "a step moved the caller's random generator"


def test_some_layers_at_another_precision(flow):
    run = flow.run("w4a8", layers={"classifier*": "w8a16"})
    bits = run.sim.layers().set_index("layer").weight_bits
    assert bits["classifier.1"] == 8 and bits["features.0"] == 4 and run.name == "w4a8+1"


class TestCancelAndFailure:
    @pytest.mark.parametrize("stage", ["calibrating", "comparing", "evaluating"])
    def test_cancelled_at_any_stage_leaves_all_as_it_was(self, flow, stage):
        flow.run("w8a8")
        before, runs = flow.summary(), dict(flow.runs)

        def stop(done, total, message):
            if message.startswith(stage) and done > 1:
                raise Cancelled()

        for precision in ("w8a8", "w4a8"):
            with pytest.raises(Cancelled):
                flow.run(precision, progress=stop)
        assert flow.runs == runs and flow.summary().equals(before)

    def test_first_step_cancelled_leaves_nothing(self, flow):
        def stop(done, total, message):
            raise Cancelled()

        with pytest.raises(Cancelled):
            flow.run("w8a8", progress=stop)
        assert not flow.runs and flow.summary().empty

    def test_interrupt_of_the_kernel_is_a_cancel(self, data):
        model, batches, _ = data

        def evaluate(_):
            raise KeyboardInterrupt

        flow = qnb.Workflow(model, batches, evaluate)
        with pytest.raises(Cancelled, match="nothing changed"):
            flow.run("w8a8")
        assert not flow.runs

    def test_evaluate_that_raises_names_its_line(self, data):
        model, batches, _ = data

        def evaluate(net):
            return {}["top1"]

        flow = qnb.Workflow(model, batches, evaluate)
        with pytest.raises(EvaluateError, match=r"KeyError at test_workflow.py:\d+"):
            flow.run("w8a8")
        assert not flow.runs

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), None, "0.9", torch.ones(2)])
    def test_evaluate_that_returns_no_number(self, data, value):
        model, batches, _ = data
        if value == "0.9" and isinstance(value, str):
            value = "ninety"
        with pytest.raises(EvaluateError, match="evaluat|Score"):
            qnb.Workflow(model, batches, lambda m: value).run("w8a8")


class TestBadInput:
    def test_empty_loader(self, data):
        with pytest.raises(InputError, match="empty loader"):
            qnb.Workflow(data[0], [], lambda m: 1.0)

    def test_one_shot_generator(self, data):
        with pytest.raises(InputError, match="one-shot"):
            qnb.Workflow(data[0], (x for x in data[1]), lambda m: 1.0)

    def test_labels_in_calibration(self, data):
        model, _, labelled = data
        with pytest.raises(InputError, match=r"qnb\.inputs\(loader\)"):
            qnb.Workflow(model, labelled, lambda m: 1.0).run("w8a8")

    def test_training_mode(self, data):
        with pytest.raises(InputError, match=r"model\.eval\(\)"):
            qnb.Workflow(MobileNetV2().train(), data[1], lambda m: 1.0).check()

    def test_unknown_precision_before_any_work(self, data):
        def evaluate(_):
            raise AssertionError("evaluated")

        with pytest.raises(PrecisionError, match="w8b8"):
            qnb.Workflow(data[0], data[1], evaluate).run("w8b8")

    def test_unknown_target(self, data):
        with pytest.raises(TargetError, match="htp-v75"):
            qnb.Workflow(data[0], data[1], lambda m: 1.0, target="htp-v57")

    def test_nan_data_names_layer_and_batch(self, data):
        bad = [data[1][0], data[1][1].clone()]
        bad[1][0, 0, 0, 0] = float("nan")
        with pytest.raises(qnb.errors.CalibrationError, match=r"'x'.*batch 1"):
            qnb.Workflow(data[0], bad, lambda m: 1.0).run("w8a8")

    def test_wrong_shape_in_a_later_batch(self, data):
        with pytest.raises(InputError, match="dimension 1 of input 'x' is 4"):
            qnb.Workflow(data[0], [data[1][0], torch.randn(8, 4, 16, 16)], lambda m: 1.0).run("w8a8")

    def test_a_run_that_is_not_there(self, finished):
        with pytest.raises(InputError, match=r"flow\.run\('w3a3'\)"):
            finished["w3a3"]

    def test_comparing_nothing(self, flow):
        with pytest.raises(InputError, match="run a step first"):
            flow.compare()

    def test_uncapturable_model_names_the_line(self, data):
        class Counts(torch.nn.Module):
            def forward(self, x):
                if x.sum() > 0:
                    return x
                return -x

        with pytest.raises(CaptureError, match=r"test_workflow.py:\d+ \(if x.sum\(\) > 0:\)"):
            qnb.Workflow(Counts().eval(), data[1], lambda m: 1.0).check()

    @pytest.mark.parametrize("tolerance", [-1, "1%", math.nan, True])
    def test_tolerance(self, data, tolerance):
        with pytest.raises(InputError, match="tolerance"):
            qnb.Workflow(data[0], data[1], lambda m: 1.0, tolerance=tolerance)


class TestCheck:
    def test_what_is_in_the_model(self, finished):
        check = finished.check_result
        assert check.ok and check.capture_sqnr_db > 100 and check.facts["batch size"] == "free"
        assert check.ops.set_index("op").layers["linear"] == 1
        assert "MobileNetV2" in repr(check) and "<script" not in check._repr_html_()

    def test_random_models_are_found_out(self):
        class Noisy(torch.nn.Module):
            def forward(self, x):
                return x + torch.rand_like(x)

        check = qnb.Workflow(Noisy().eval(), [torch.randn(64, 4)], lambda m: 1.0).check()
        assert not check.ok and "random" in repr(check)

    def test_unknown_ops_and_few_samples_are_mentioned(self):
        class Odd(torch.nn.Module):
            def forward(self, x):
                return torch.special.i0e(x)

        check = qnb.Workflow(Odd().eval(), [torch.randn(8, 4)], lambda m: 1.0).check()
        assert check.ok and any("special_i0e" in f.text for f in check.issues)
        assert any("few" in f.text for f in check.issues)


class TestAdvice:
    def test_follows_the_ladder(self, flow):
        assert flow.next_steps()[0].code == "flow.check()"
        flow.check()
        assert flow.next_steps()[0].code == 'flow.run("fp16")'
        flow.run("fp16")
        assert flow.next_steps()[-1].code == 'flow.run("w16a16")'

    def test_names_the_half_and_the_layer(self, data):
        model, batches, labelled = data
        flow = qnb.Workflow(model, batches, qnb.accuracy(labelled), tolerance=0.2)
        for precision in ("w16a16", "w8a16", "w8a8"):
            flow.run(precision)
        for name, state in (("w16a16", "pass"), ("w8a16", "pass"), ("w8a8", "fail")):
            flow.runs[name] = replace(flow[name], verdict=Verdict(state, ""))
        advice = flow.next_steps()[0]
        assert "8-bit activations cause the loss" in advice.reason and advice.code == 'flow.recover("w8a8", "auto")'
        tried = replace(flow["w8a8"], name="w8a8+auto", attempts=pd.DataFrame({"tried": []}))
        flow.runs = flow.runs | {tried.name: tried}
        assert flow["w8a8"].weakest_layer[0] in flow.next_steps()[1].code


class TestFiles:
    def test_round_trip(self, finished, tmp_path):
        finished.save(tmp_path / "x.qnb")
        loaded = qnb.load(tmp_path / "x.qnb")
        assert loaded.summary().equals(finished.summary())
        assert loaded["w8a8"].comparison.equals(finished["w8a8"].comparison)
        assert repr(loaded["w2a4"]) == repr(finished["w2a4"])
        x = images(2)
        with torch.no_grad():
            assert torch.equal(loaded["w8a8"].sim(x), finished["w8a8"].sim(x))
        with pytest.raises(InputError, match="evaluate="):
            loaded.run("w8a8")

    @pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"no zip", lambda b: b""])
    def test_damaged(self, finished, tmp_path, damage):
        path = tmp_path / "x.qnb"
        finished.save(path)
        path.write_bytes(damage(path.read_bytes()))
        with pytest.raises(FileError, match="x.qnb"):
            qnb.load(path)

    def test_missing(self, tmp_path):
        with pytest.raises(FileError, match="check the path"):
            qnb.load(tmp_path / "none.qnb")


def test_it_shows_in_a_cell(finished, flow):
    for thing in (finished, flow, finished["w8a8"], finished.check_result):
        assert repr(thing) and "<script" not in thing._repr_html_()
    assert "Next" in repr(flow) and "w2a4" in repr(finished)
