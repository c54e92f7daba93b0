"""The detector's pictures, its outputs, and its metric."""

import pytest
import torch
from safetensors import safe_open

import qnb
from qnb.demo import detection, shapes
from qnb.demo.demo import WEIGHTS
from qnb.demo.detector_model import Detector, centres


class TestPictures:
    def test_shapes_and_ranges(self):
        made = shapes.pictures(40, 3)
        assert len(made) == 40 and made.images.shape == (40, 3, 64, 64) and made.masks.shape == (40, 64, 64)
        assert made.boxes.shape == (40, 3, 4) and made.labels.shape == (40, 3)
        assert 0 <= made.images.min() and made.images.max() <= 1 and made.images.std() > 0.1
        assert set(made.labels.unique().tolist()) == {-1, 0, 1, 2} and (made.labels[:, 0] >= 0).all()
        inside = made.boxes[made.labels >= 0]
        assert 0 <= inside.min() and inside.max() <= 64

    def test_the_same_seed_gives_the_same_and_fewer_are_the_first(self):
        many, few, other = shapes.pictures(40, 3), shapes.pictures(5, 3), shapes.pictures(5, 4)
        assert torch.equal(many.images[:5], few.images) and torch.equal(many.labels[:5], few.labels)
        assert not torch.equal(few.images, other.images)

    def test_a_box_is_as_far_as_its_shape_goes(self):
        made, checked = shapes.pictures(64, 6), 0
        for mask, boxes, labels in zip(made.masks, made.boxes, made.labels, strict=True):
            for label in range(3):
                if (labels == label).sum() == 1:
                    at = (mask == label + 1).nonzero().flip(1)
                    seen = torch.cat([at.amin(0), at.amax(0) + 1])
                    assert (boxes[labels == label][0] - seen).abs().max() < 1.6  # a corner covers part of its pixel
                    checked += 1
        assert checked > 60

    @pytest.mark.parametrize("label, share", [(0, torch.pi), (1, 2.0), (2, 1.299)])
    def test_the_area_is_that_of_the_shape(self, label, share):
        cover, _ = shapes._drawn(
            torch.tensor([[32.0, 30.0]]), torch.tensor([14.0]), torch.tensor([0.4]), torch.tensor([label])
        )
        assert float(cover.sum()) == pytest.approx(share * 14**2, rel=0.03)  # 3 / 4 * sqrt(3) of a triangle

    def test_shapes_do_not_overlap(self):
        made = shapes.pictures(64, 7)
        middle, radius = (made.boxes[..., :2] + made.boxes[..., 2:]) / 2, made.boxes[..., 2] - made.boxes[..., 0]
        circles = (made.labels == 0).all(1)
        apart = torch.cdist(middle[circles], middle[circles]) + 99 * torch.eye(3)
        assert circles.any() and (apart > (radius[circles][:, :, None] + radius[circles][:, None]) / 2).all()


class TestMetric:
    truth = torch.tensor([[[0.0, 0, 10, 10], [20.0, 20, 40, 40]]])
    labels = torch.tensor([[1, 2]])

    def score(self, *found, labels=labels):
        """F1 of detections (box, class, score)."""
        boxes = torch.tensor([[box for box, _, _ in found]], dtype=torch.float32)
        scores = torch.zeros(1, len(found), 3)
        for i, (_, kind, score) in enumerate(found):
            scores[0, i, kind] = score
        separate = {"boxes": boxes, "scores": scores}
        values = []
        for output in (separate, torch.cat([boxes, scores], -1)):
            score = detection.f1([(torch.zeros(1), self.truth, labels)])(lambda _, output=output: output)
            values.append(score.value)
        assert values[0] == values[1] and score.per_sample == (score.value,)
        return score.value

    def test_all_found(self):
        assert self.score(((0, 0, 10, 10), 1, 0.9), ((20, 20, 40, 40), 2, 0.8)) == 1

    def test_one_found_of_two(self):
        assert self.score(((0, 0, 10, 10), 1, 0.9), ((20, 20, 40, 40), 2, 0.4)) == pytest.approx(2 / 3)

    def test_a_wrong_class_is_no_find(self):
        assert self.score(((0, 0, 10, 10), 2, 0.9), ((20, 20, 40, 40), 2, 0.8)) == pytest.approx(0.5)

    def test_a_box_that_is_off_is_no_find(self):
        assert self.score(((4, 0, 14, 10), 1, 0.9), ((20, 20, 40, 40), 2, 0.8)) == pytest.approx(0.5)

    def test_a_neighbour_of_the_best_is_taken_out(self):
        assert self.score(
            ((1, 0, 10, 10), 1, 0.8), ((0, 0, 10, 10), 1, 0.9), ((20, 20, 40, 40), 2, 0.8)
        ) == pytest.approx(1)

    def test_one_shape_is_found_once(self):
        first, second = (0, 0, 10, 6), (0, 4.5, 10, 10.5)  # both fit the shape, not each other
        assert detection.iou(*torch.tensor([first, second], dtype=torch.float32)) < 0.5
        assert self.score((first, 1, 0.9), (second, 1, 0.8)) == pytest.approx(2 / 4)

    def test_labels_below_zero_are_no_shapes(self):
        assert self.score(((0, 0, 10, 10), 1, 0.9), labels=torch.tensor([[1, -1]])) == 1

    def test_nothing_found(self):
        assert self.score(((0, 0, 10, 10), 1, 0.1)) == 0


def test_centres_are_in_the_order_of_the_cells():
    assert centres(8)[:2].tolist() == [[4, 4], [12, 4]] and centres(8)[8].tolist() == [4, 12]
    assert len(centres(4)) == 256 and centres(4).max() == 62


def test_reaches_its_metric_with_small_weights():
    path = WEIGHTS / "detector.safetensors"
    assert path.stat().st_size < 300_000
    demo = qnb.demo.detector()
    score = demo.evaluate(demo.model)
    assert score.value >= 0.95 and score.n == 300 and len(score.per_sample) == 300
    with safe_open(path, "pt") as file:
        assert float(file.metadata()["f1"]) == pytest.approx(score.value, abs=1e-4)
    assert [len(x) for x in demo.calibration] == [32] * 8 and not demo.model.training


def test_boxes_are_in_pixels_and_both_forms_are_the_same():
    joined, apart, small = (qnb.demo.detector(**k) for k in ({}, {"separate": True}, {"pixels": 64}))
    x = joined.calibration[0]
    with torch.no_grad():
        one, two, less = joined.model(x), apart.model(x), small.model(x)
    assert one.shape == (32, 320, 7)
    assert torch.equal(one, torch.cat([two["boxes"], two["scores"]], -1))
    assert torch.allclose(one[..., :4] / 10, less[..., :4], atol=1e-4) and torch.equal(one[..., 4:], less[..., 4:])
    found, labels = detection.detections(one)
    boxes = found[labels >= 0]
    assert boxes.min() > -20 and boxes.max() < 660 and (boxes[:, 2:] - boxes[:, :2] > 40).all()
    scores = [demo.evaluate(demo.model) for demo in (joined, apart, small)]
    assert scores[0].per_sample == scores[1].per_sample
    assert scores[2].value == pytest.approx(scores[0].value, abs=0.01)


def test_at_8_bits_one_tensor_leaves_no_score_and_two_leave_nearly_all():
    """The concatenation's one range goes to 640: its steps are larger than any score."""
    drops = []
    for separate in (False, True):
        demo = qnb.demo.detector(separate)
        flow = qnb.Workflow(demo.model, demo.calibration[:2], demo.evaluate, target="htp-v75")
        drops.append(flow.run("w8a8").drop.value)
    assert drops[0] > 0.9 and drops[1] < 0.05


def test_the_check_names_the_concatenation():
    demo = qnb.demo.detector()
    flow = qnb.Workflow(demo.model, demo.calibration[:1], demo.evaluate, target="htp-v75")
    assert "cat" in str(flow.check())


def test_parameters_are_few():
    assert 50_000 < sum(p.numel() for p in Detector().parameters()) < 100_000
