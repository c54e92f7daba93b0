"""What the demos promise besides their accuracy: which data, from where, and what it costs to load them."""

import hashlib
import importlib
import json
import os
import socket
import subprocess
import sys

import pytest
import torch
from safetensors import safe_open

import qnb
from qnb.demo import Demo, data, digits, transformer
from qnb.demo.demo import WEIGHTS, load_weights
from qnb.errors import FileError

DEMOS = {"digits": digits, "transformer": transformer}


@pytest.fixture(params=DEMOS, scope="module")
def demo(request) -> Demo:
    return DEMOS[request.param]()


def pixels(batch) -> torch.Tensor:
    return batch["pixels"] if isinstance(batch, dict) else batch


def as_rows(images: torch.Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in images}


class TestSplit:
    def test_shapes_and_range(self):
        split = data.load()
        assert split.train.shape == (1797 - 540, 1, 8, 8) and split.test.shape == (540, 1, 8, 8)
        assert split.train.dtype == split.test.dtype == torch.float32
        assert split.train.min() == 0 and split.train.max() == 1

    def test_together_the_parts_are_the_whole_set(self):
        from sklearn.datasets import load_digits

        split = data.load()
        whole = torch.from_numpy(load_digits().images).float().unsqueeze(1) / 16
        assert as_rows(split.train) | as_rows(split.test) == as_rows(whole)

    def test_it_is_the_one_the_weights_were_trained_on(self):
        # Another split, for example from a new scikit-learn, would hold out images that the model has seen.
        found = hashlib.sha256(data.load().test.numpy().tobytes()).hexdigest()
        assert found == "8a53b25f6dc18f3306918f5b81d1e4c24fa094c4a30baea173347fe0782eb070"


def test_batches_are_in_order_and_complete():
    images = torch.arange(10)
    assert torch.equal(torch.cat(data.batches(images, 4)), images)
    assert [len(b) for b in data.batches(images, 4, 2)] == [4, 4]


def test_calibration_is_training_images_only(demo):
    split = data.load()
    seen = [pixels(batch) for batch in demo.calibration]
    assert [len(x) for x in seen] == [32] * 8
    rows = as_rows(torch.cat(seen))
    assert rows <= as_rows(split.train) and not rows & as_rows(split.test)


def test_evaluate_is_on_the_held_out_images_in_order(demo):
    seen = []

    def model(*args, **kwargs):
        seen.append(pixels(kwargs or args[0]))
        return torch.nn.functional.one_hot(torch.zeros(len(seen[-1]), dtype=torch.long), 10).float()

    score, split = demo.evaluate(model), data.load()
    assert torch.equal(torch.cat(seen), split.test)
    assert score.per_sample == tuple((split.test_labels == 0).double().tolist())


def test_the_weights_file_says_what_it_reaches(demo):
    with safe_open(WEIGHTS / f"{demo.name}.safetensors", "pt") as file:
        about = file.metadata()
    assert float(about["accuracy"]) == pytest.approx(demo.evaluate(demo.model).value, abs=1e-4)
    assert about["seed"].isdigit() and about["torch"]


def test_the_models_stay_small(demo):
    assert sum(p.numel() for p in demo.model.parameters()) < 70_000


@pytest.mark.parametrize("name", DEMOS)
def test_changing_one_demo_leaves_the_next_alone(name):
    first, second = DEMOS[name](), DEMOS[name]()
    a, b = first.model.state_dict(), second.model.state_dict()
    assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
    before = second.evaluate(second.model)
    with torch.no_grad():
        for tensor in (*first.model.parameters(), *first.model.buffers(), *map(pixels, first.calibration)):
            tensor.zero_()
    assert second.evaluate(second.model) == before
    assert all(pixels(batch).any() for batch in second.calibration)


@pytest.mark.parametrize("name", DEMOS)
def test_nothing_is_fetched_from_anywhere(name, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the demo asked for the network")

    for call in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, call, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    made = DEMOS[name]()
    assert made.evaluate(made.model).n == 540


def test_its_parts_have_readable_names():
    names = dict(digits().model.named_modules())
    for name in ("stem.conv", "blocks.0.expand", "blocks.0.depthwise.conv", "blocks.0.project", "head", "classifier"):
        assert name in names
    depthwise = names["blocks.0.depthwise.conv"]
    assert depthwise.groups == depthwise.in_channels > 1


def test_the_transformer_takes_a_keyword_and_gives_a_dataclass():
    made = transformer()
    output = made.model(**made.calibration[0])
    assert output.logits.shape == (32, 10) and output.tokens.shape == (32, 16, 40)


def test_missing_weights_name_the_script_that_makes_them():
    with pytest.raises(FileError, match="tools.train_demo nothing"):
        load_weights(torch.nn.Identity(), "nothing")


def test_repr_says_what_it_is():
    assert repr(digits()) == "Demo(digits: a MobileNet in miniature on 8 x 8 handwritten digits, 540 held out)"


def test_the_package_loads_nothing_heavy_until_asked():
    code = "import json, sys, qnb.demo; print(json.dumps(sorted(sys.modules)))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=environment)
    assert run.returncode == 0, run.stderr
    loaded = set(json.loads(run.stdout))
    assert "qnb.demo.digits" in loaded and not loaded & {"torch", "numpy", "pandas", "sklearn"}


def test_a_demo_is_a_function_also_after_its_module_was_imported():
    for name in ("digits", "transformer", "detector", "language"):
        importlib.import_module(f"qnb.demo.{name}")
        assert callable(getattr(qnb.demo, name))
