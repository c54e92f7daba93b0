"""Calibration samples by their numbers."""

import pytest
import torch
from torch import nn

import qnb
from qnb import columns
from qnb.errors import InputError


def flow_of(batches, model=None):
    return qnb.Workflow((model or nn.Flatten()).eval(), batches, lambda m: 1.0)


@pytest.fixture
def pictures():
    batches = [torch.rand(4, 1, 6, 6) for _ in range(3)]
    batches[1][1] *= 255
    return batches


def test_samples_are_counted_over_all_batches(pictures):
    found = flow_of(pictures).samples([5, 0, 11])
    assert tuple(found.table.columns) == columns.CALIBRATION_SAMPLES and found.table["sample"].tolist() == [5, 0, 11]
    for sample, wanted in zip(found.inputs, (pictures[1][1:2], pictures[0][:1], pictures[2][3:]), strict=True):
        assert torch.equal(sample, wanted)
    assert found.table["max"][0] == pytest.approx(float(pictures[1][1].max()))
    assert found.caption() == repr(found) == "Calibration samples 5, 0, 11"


def test_each_caption_tells_the_ends(pictures):
    chart = flow_of(pictures).samples(5).chart()
    (caption,) = [a.text for a in chart.layout.annotations]
    assert caption.startswith("sample 5<br>") and f"to {float(pictures[1][1].max()):.3g}" in caption
    assert len(chart.layout.images) == 1


def test_what_is_no_picture_is_told_as_text():
    tokens = [torch.arange(12).reshape(2, 6), torch.arange(12).reshape(2, 6) + 3]
    found = flow_of(tokens, nn.Embedding(20, 4)).samples([3])
    assert found.chart() is None and found.figures() == [] and "9 10 11 12 13 14" in found.document().text()
    named = flow_of(tokens, nn.Embedding(20, 4)).samples([3], show=lambda ids: f"{len(ids)} ids")
    assert named.views[0].text == "6 ids"


def test_a_document_holds_no_pictures(pictures):
    document = flow_of(pictures).samples(range(3)).document()
    assert "png" not in str(document.json()) and "png" in document.html()


@pytest.mark.parametrize(
    ("numbers", "said"),
    [(12, "sample 12 of 12 calibration samples"), ([0, -1], "numbers=-1"), ([], "numbers"), ("3", "numbers='3'")],
)
def test_numbers_that_are_none(pictures, numbers, said):
    with pytest.raises(InputError, match=said):
        flow_of(pictures).samples(numbers)


def test_a_workflow_from_a_file_has_no_samples(tmp_path, pictures):
    flow = flow_of(pictures)
    flow.check()
    flow.save(tmp_path / "a.qnb")
    with pytest.raises(InputError, match=r"flow\.samples"):
        qnb.load(tmp_path / "a.qnb").samples(0)
