"""The script that trains the demos: it stores nothing that falls short."""

import pytest
import torch
from safetensors import safe_open

from qnb.demo import shapes
from tools import train_demo, train_tasks


@pytest.fixture
def weights(tmp_path, monkeypatch):
    monkeypatch.setattr(train_demo, "WEIGHTS", tmp_path)
    before = torch.get_num_threads()
    yield tmp_path
    torch.set_num_threads(before)


def recipe(monkeypatch, **changed) -> None:
    monkeypatch.setitem(train_demo.RECIPES, "digits", {**train_demo.RECIPES["digits"], "epochs": 1, **changed})


def test_a_model_below_what_it_must_reach_is_not_stored(weights, monkeypatch, capsys):
    recipe(monkeypatch, least=0.999)
    (weights / "digits.safetensors").write_bytes(b"the old ones")
    assert train_demo.main(["digits"]) == 1
    assert (weights / "digits.safetensors").read_bytes() == b"the old ones"
    assert "it must reach 0.999" in capsys.readouterr().err


def test_a_model_that_reaches_it_is_stored_with_its_figure(weights, monkeypatch, capsys):
    recipe(monkeypatch, least=0.0)
    assert train_demo.main(["digits"]) == 0
    assert [p.name for p in weights.iterdir()] == ["digits.safetensors"]
    with safe_open(weights / "digits.safetensors", "pt") as file:
        assert f"digits: accuracy {file.metadata()['accuracy']} on 540 held out" in capsys.readouterr().out


def test_training_gives_the_same_again(weights):
    chosen = {k: v for k, v in train_demo.RECIPES["digits"].items() if k not in ("least", "task")}
    task = train_tasks.Digits()
    first, second = (train_demo.train(**{**chosen, "epochs": 1}, task=task).state_dict() for _ in range(2))
    assert all(torch.equal(first[k], second[k]) for k in first)


def test_what_the_demos_promise_is_what_the_script_demands():
    demanded = {name: r["least"] for name, r in train_demo.RECIPES.items()}
    assert demanded == {"digits": 0.97, "transformer": 0.96, "detector": 0.95, "language": 1.5}


def test_shifted_moves_by_one_pixel_at_most_and_loses_nothing_inside():
    torch.manual_seed(0)
    image = torch.zeros(64, 1, 8, 8)
    image[:, 0, 4, 4] = 1
    found = train_tasks.shifted(image)[:, 0].nonzero()
    assert found[:, 0].tolist() == list(range(64))
    assert (found[:, 1:] - 4).abs().max() == 1


def test_flipped_boxes_still_hold_their_shapes():
    pictures = shapes.pictures(8, 5)
    masks = torch.nn.functional.one_hot(pictures.masks, 4).permute(0, 3, 1, 2).float()  # an image that tells its shapes
    kinds = set()
    for seed in range(12):
        torch.manual_seed(seed)
        images, boxes = train_tasks.flipped(masks, pictures.boxes)
        kinds.add((torch.equal(images, masks), torch.equal(boxes, pictures.boxes)))
        for image, here, labels in zip(images, boxes, pictures.labels, strict=True):
            for (left, top, right, bottom), label in zip(here.round().int().tolist(), labels.tolist(), strict=True):
                if label >= 0:
                    inside = image[label + 1, max(top, 0) : bottom, max(left, 0) : right].mean()
                    assert inside > 0.35  # half of it for a triangle
    assert kinds == {(True, True), (False, False)}


def test_each_shape_is_found_by_the_cells_around_its_centre():
    task = train_tasks.Shapes()
    boxes = torch.tensor([[[10.0, 22.0, 22.0, 34.0], [30.0, 30.0, 56.0, 56.0], [0.0, 0.0, 9.0, 9.0]]])
    wanted, which = task.wanted(boxes, torch.tensor([[2, 0, -1]]))
    for label, stride, box in ((2, 4, boxes[0, 0]), (0, 8, boxes[0, 1])):
        mine = which[0] == label
        assert mine.sum() == 4 and (task.strides[mine] == stride).all() and (wanted[0, mine] == box).all()
        assert ((task.cells[mine] - (box[:2] + box[2:]) / 2).abs() < stride).all()
    assert (which >= 0).sum() == 8
