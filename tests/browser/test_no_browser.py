"""Where there is no browser: a skip for a person, a failure where QNB_CI says that all must run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize(("ci", "code", "summary"), [("", 0, "1 skipped"), ("1", 1, "1 error")], ids=["person", "CI"])
def test_without_chromium(ci, code, summary, tmp_path):
    environment = {**os.environ, "QNB_CI": ci, "PATH": str(tmp_path), "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/browser/test_lab.py", "-k", "themes"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == code and summary in run.stdout.splitlines()[-1], run.stdout
