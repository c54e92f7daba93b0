"""The same arithmetic in every test: one thread, fixed seeds, deterministic algorithms."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

collect_ignore = ["bench"]  # scripts that measure; `make bench` runs them

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _same_numbers_again():
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True, warn_only=True)
