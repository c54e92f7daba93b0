"""The same arithmetic in every test: one thread, fixed seeds, deterministic algorithms."""

from __future__ import annotations

import os
import random

import numpy as np
import pytest
import torch

from tests.flows import digits as digits
from tests.flows import fresh as fresh

collect_ignore = ["bench"]  # scripts that measure; `make bench` runs them

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _same_numbers_again():
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True, warn_only=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Where everything must run (QNB_CI), a browser test that was skipped has failed."""
    report = yield
    skipped = report.skipped and not hasattr(report, "wasxfail")
    if os.environ.get("QNB_CI") and skipped and item.get_closest_marker("browser"):
        reason = report.longrepr[-1] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome, report.longrepr = "failed", f"QNB_CI is set, so this must run. {reason}"
    return report
