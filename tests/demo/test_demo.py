"""The demos: they are what they say, offline, and the same each time."""

import pytest
import torch

import qnb
from qnb.demo import data
from qnb.demo.demo import WEIGHTS


@pytest.mark.parametrize("name, least", [("digits", 0.97), ("transformer", 0.96)])
class TestEach:
    def test_weights_are_small_and_reach_their_metric(self, name, least):
        assert (WEIGHTS / f"{name}.safetensors").stat().st_size < 300_000
        demo = getattr(qnb.demo, name)()
        score = demo.evaluate(demo.model)
        assert score.value >= least and score.n == 540 and len(score.per_sample) == 540
        assert not any(m.training for m in demo.model.modules())

    def test_two_demos_are_equal_and_apart(self, name, least):
        a, b = (getattr(qnb.demo, name)() for _ in range(2))
        for p, q in zip(a.model.parameters(), b.model.parameters(), strict=True):
            assert torch.equal(p, q) and p.data_ptr() != q.data_ptr()

    def test_calibration_can_be_gone_through_twice(self, name, least):
        demo = getattr(qnb.demo, name)()
        assert len(list(demo.calibration)) == len(list(demo.calibration)) == 8


def test_held_out_images_are_held_out():
    split = data.load()
    train = {x.numpy().tobytes() for x in split.train}
    same = sum(x.numpy().tobytes() in train for x in split.test)
    assert len(split.test) == 540 and len(split.train) == 1257
    assert same == 0
    share = torch.bincount(split.test_labels, minlength=10) / 540
    assert share.min() > 0.08, "a digit is missing from the held-out images"


def test_the_split_is_the_same_each_time():
    assert torch.equal(data.load().test, data.load().test)


def test_w8a8_loses_a_little_and_w4a8_visibly():
    demo = qnb.demo.digits()
    flow = qnb.Workflow(demo.model, demo.calibration, demo.evaluate)
    small, large = (flow.run(p).drop.value for p in ("w8a8", "w4a8"))
    assert 0 <= small < 0.015 and large > 0.02
    assert flow["w4a8"].comparison.own_sqnr_db.min() < flow["w8a8"].comparison.own_sqnr_db.min() - 10


def test_the_transformer_is_quantized_inside():
    demo = qnb.demo.transformer()
    run = qnb.Workflow(demo.model, demo.calibration, demo.evaluate).run("w8a8")
    ops = list(run.comparison.op)
    assert ops.count("matmul") == 6 and ops.count("softmax") == 3 and run.verdict.status != "fail"
