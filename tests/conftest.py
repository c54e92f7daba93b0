"""The same arithmetic in every test: one thread, fixed seeds, deterministic algorithms."""

from __future__ import annotations

import os
import random
import signal

import numpy as np
import pytest
import torch

from tests.flows import digits as digits
from tests.flows import fresh as fresh
from tests.flows import full as full
from tests.translations import kept

collect_ignore = ["bench"]  # scripts that measure; `make bench` runs them

BROWSER = "tests/browser/"

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _same_numbers_again():
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True, warn_only=True)


@pytest.fixture(scope="session", autouse=True)
def _each_graph_is_translated_once():
    with kept():
        yield


@pytest.fixture(scope="session", autouse=True)
def _documents_keep_their_contract():
    """Every document that any test makes is what `qnb.document_schema` says that documents are."""
    from qnb.document import Document

    plain = Document.json

    def checked(self) -> dict:
        from qnb import schema
        from qnb.document_schema import DOCUMENT

        found = plain(self)
        schema.check(found, DOCUMENT, f"the document {self.title[:80]!r}", "keep to qnb/document_schema.py")
        return found

    Document.json = checked
    yield
    Document.json = plain


@pytest.fixture
def interrupts():
    """SIGINT raises KeyboardInterrupt, also where the tests were started in the background, where it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def htp():
    """QnnHtp; where everything must run (QNB_CI), its absence is a failure."""
    from qnb.runtimes import QnnHtp, qnn_available

    reason = qnn_available()
    if reason and os.environ.get("QNB_CI"):
        pytest.fail(f"QNB_CI is set, so this must run: {reason}")
    if reason:
        pytest.skip(reason)
    return QnnHtp


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Where everything must run (QNB_CI), a browser test that was skipped has failed."""
    report = yield
    skipped = report.skipped and not hasattr(report, "wasxfail")
    if os.environ.get("QNB_CI") and skipped and item.get_closest_marker("browser"):
        reason = report.longrepr[-1] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome, report.longrepr = "failed", f"QNB_CI is set, so this must run. {reason}"
    return report


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """`make test` gives each process whole files; the browser tests are one piece: one server, one browser."""
    from xdist.scheduler import LoadFileScheduling

    class Files(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return BROWSER if nodeid.startswith(BROWSER) else super()._split_scope(nodeid)

    return Files(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_collection_modifyitems(config, items):
    """In parallel, what takes long comes first, so that no process ends long before the other."""
    if not hasattr(config, "workerinput"):
        return
    slow = {item.path for item in items if item.path.suffix == ".ipynb" or item.get_closest_marker("slow")}
    items.sort(key=lambda item: 0 if item.nodeid.startswith(BROWSER) else 1 if item.path in slow else 2)
