"""Batches and labels."""

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import qnb
from qnb.errors import InputError
from qnb.graph.batches import length, reiterable

PAIRS = [(torch.ones(2, 3) * i, torch.tensor([i, i])) for i in range(3)]


def test_inputs_drops_labels_of_tuples():
    view = qnb.inputs(PAIRS)
    assert len(view) == 3 and all(torch.equal(a, b[0]) for a, b in zip(view, PAIRS, strict=True))
    assert len(list(view)) == len(list(view)) == 3, "it can be gone through again"


def test_inputs_keeps_several():
    assert all(len(b) == 2 for b in qnb.inputs([(1, 2, 3)], keep=2))


def test_inputs_of_dicts():
    rows = [{"pixels": 1, "mask": 2, "labels": 3}]
    assert list(qnb.inputs(rows)) == [{"pixels": 1, "mask": 2}]
    assert list(qnb.inputs(rows, keep="pixels")) == [{"pixels": 1}]
    with pytest.raises(InputError, match="no key 'ids'"):
        list(qnb.inputs(rows, keep=["ids"]))


def test_data_loaders_go_in_as_they_are():
    loader = DataLoader(TensorDataset(torch.randn(6, 3), torch.zeros(6)), batch_size=2)
    assert [b.shape for b in qnb.inputs(loader)] == [torch.Size([2, 3])] * 3


@pytest.mark.parametrize(
    "batches, match",
    [
        ((x for x in PAIRS), "one-shot"),
        (iter(PAIRS), "one-shot"),
        ([], "empty"),
        (torch.ones(3), r"\[x\]"),
        ({"x": 1}, r"\[x\]"),
        (7, "not iterable"),
    ],
    ids=["generator", "iterator", "empty", "tensor", "dict", "number"],
)
def test_what_cannot_be_gone_through_is_refused(batches, match):
    with pytest.raises(InputError, match=match):
        reiterable(batches, "calibrate")


def test_length_of_loaders_that_do_not_know_it():
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            yield torch.ones(2)

    loader = DataLoader(Stream())
    assert length(loader) is None and reiterable(loader, "calibrate") is loader
