"""The nets are alive: a difference between simulation and runtime would be seen at their outputs."""

import pytest
import torch
from torch.utils._pytree import tree_leaves

from tests.nets import NETS


def called(model, batch):
    with torch.no_grad():
        found = model(**batch) if isinstance(batch, dict) else model(*batch)
    return [x for x in tree_leaves(found if isinstance(found, tuple | list | dict) else vars(found)) if x is not None]


@pytest.mark.parametrize("name", NETS)
def test_outputs_vary_as_inputs_do(name):
    model, batches = NETS[name].built()
    assert 1_000 < sum(p.numel() for p in model.parameters()) < 100_000
    for one, other in zip(called(model, batches[0]), called(model, batches[1]), strict=True):
        assert one.isfinite().all() and not torch.equal(one, other)
        assert one.numel() == 1 or one.unique().numel() > 1
        if one.is_floating_point():
            assert 0.1 < one.std() < 10 or one.min() >= -1 and one.max() <= 1 and one.std() > 0.02
