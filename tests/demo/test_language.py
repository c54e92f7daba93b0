"""The language model's text, its causality, and its metric."""

import math

import pytest
import torch
from safetensors import safe_open

import qnb
from qnb.demo import text
from qnb.demo.demo import WEIGHTS
from qnb.demo.language_model import LanguageModel, Predicted


@pytest.fixture(scope="module")
def demo():
    return qnb.demo.language()


def written(tokens) -> str:
    return bytes(tokens.tolist()).decode("ascii")


def test_no_paragraph_is_in_both_parts():
    texts = text.load()
    train, test = (set(written(part).split("\n\n")) - {""} for part in (texts.train, texts.test))
    assert len(train) > 1500 and len(test) > 150 and not train & test
    assert 0.05 < len(texts.test) / len(texts.train) < 0.2
    assert torch.equal(text.load().test, texts.test)


def test_a_paragraph_is_held_out_whatever_the_others_are(monkeypatch):
    import pydoc_data.topics

    before = written(text.load().test)
    kept = {name: t for i, (name, t) in enumerate(sorted(pydoc_data.topics.topics.items())) if i % 3}
    monkeypatch.setattr(pydoc_data.topics, "topics", kept)
    fewer = [p for p in written(text.load().test).split("\n\n") if p]
    assert fewer and set(fewer) <= set(before.split("\n\n"))


def test_sequences_are_of_the_text_from_its_beginning_to_its_end():
    found = text.sequences(torch.arange(1000), 11, 9)
    assert found.shape == (11, 10) and found[0].tolist() == list(range(10)) and found[-1, -1] == 999
    assert (found.diff() == 1).all()


def test_cross_entropy_of_what_knows_nothing_and_of_what_knows_all():
    tokens = torch.randint(0, 128, (6, 9), generator=torch.Generator().manual_seed(0))

    def even(input_ids):
        return Predicted(torch.zeros(*input_ids.shape, 128))

    def sure(input_ids):
        return Predicted(99.0 * torch.nn.functional.one_hot(tokens[:, 1:], 128))

    score = text.cross_entropy([tokens])(even)
    assert score.value == pytest.approx(math.log(128)) and score.n == 6 and not score.higher_is_better
    assert text.cross_entropy([tokens])(sure).value == pytest.approx(0, abs=1e-6)


def test_value_is_the_mean_of_the_sequences(demo):
    score = demo.evaluate(demo.model)
    assert score.value == pytest.approx(sum(score.per_sample) / 200) and len(set(score.per_sample)) > 150


def test_reaches_its_metric_with_small_weights(demo):
    path = WEIGHTS / "language.safetensors"
    assert path.stat().st_size < 800_000 and sum(p.numel() for p in demo.model.parameters()) < 200_000
    score = demo.evaluate(demo.model)
    assert score.value <= 1.5 and score.n == 200 and not score.higher_is_better
    with safe_open(path, "pt") as file:
        assert float(file.metadata()["cross_entropy"]) == pytest.approx(score.value, abs=0.05)  # by version of Python
    assert not demo.model.training


def test_it_is_causal(demo):
    ids = demo.calibration[0]["input_ids"]
    changed = ids.clone()
    changed[:, 40] = ord("#")
    with torch.no_grad():
        a, b = (demo.model(input_ids=x).logits for x in (ids, changed))
    assert torch.allclose(a[:, :40], b[:, :40], atol=1e-4) and not torch.allclose(a[:, 40:], b[:, 40:], atol=1e-2)


def test_it_continues_a_word(demo):
    ids = torch.tensor([list(b"This is a statement. The expression is evaluat")])
    with torch.no_grad():
        assert chr(demo.model(input_ids=ids).logits[0, -1].argmax()) == "e"


def test_calibration_is_training_text_of_the_right_form(demo):
    batches = [batch["input_ids"] for batch in demo.calibration]
    assert [tuple(x.shape) for x in batches] == [(32, 64)] * 8 and batches[0].dtype == torch.int64
    train = written(text.load().train)
    assert all(written(row) in train for row in torch.cat(batches))


def test_it_is_quantized_inside(demo):
    flow = qnb.Workflow(demo.model, demo.calibration[:2], demo.evaluate, target="htp-v75")
    run = flow.run("w8a16")
    ops = list(run.comparison.op)
    assert ops.count("matmul") == 6 and ops.count("softmax") == 3 and ops.count("embedding") >= 1
    assert -0.005 < run.drop.value < 0.05  # of a loss: more is worse


def test_weights_are_those_of_the_model():
    assert LanguageModel()(torch.zeros(2, 5, dtype=torch.long)).logits.shape == (2, 5, 128)
