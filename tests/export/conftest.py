"""A small network's simulations, and a file that a failed export must leave as it is."""

import os

import pytest
import torch

from tests.export.files import calibrated, net
from tests.models import images


@pytest.fixture(scope="module")
def sims():
    """Calibrated once for each precision and target: to read only."""
    made, x = {}, images()
    torch.manual_seed(0)
    model = net()

    def of(precision="w8a8", target="htp-v75"):
        if (precision, target) not in made:
            made[precision, target] = calibrated(model, x, precision, target)
        return made[precision, target]

    return of


@pytest.fixture
def old(tmp_path):
    """A file that a failed export must leave as it is, alone in its folder."""
    path = tmp_path / "m.onnx"
    path.write_bytes(b"old")
    yield path
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["m.onnx"]
