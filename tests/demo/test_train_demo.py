"""The script that trains the demos: it stores nothing that falls short."""

import pytest
import torch
from safetensors import safe_open

from qnb.demo import data
from tools import train_demo


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
        assert f"digits: {file.metadata()['accuracy']} on 540" in capsys.readouterr().out


def test_training_gives_the_same_again(weights):
    chosen = {k: v for k, v in train_demo.RECIPES["digits"].items() if k != "least"}
    split = data.load()
    first, second = (train_demo.train(**{**chosen, "epochs": 1}, split=split).state_dict() for _ in range(2))
    assert all(torch.equal(first[k], second[k]) for k in first)


def test_what_the_demos_promise_is_what_the_script_demands():
    assert {name: r["least"] for name, r in train_demo.RECIPES.items()} == {"digits": 0.97, "transformer": 0.96}


def test_shifted_moves_by_one_pixel_at_most_and_loses_nothing_inside():
    torch.manual_seed(0)
    image = torch.zeros(64, 1, 8, 8)
    image[:, 0, 4, 4] = 1
    found = train_demo.shifted(image)[:, 0].nonzero()
    assert found[:, 0].tolist() == list(range(64))
    assert (found[:, 1:] - 4).abs().max() == 1
