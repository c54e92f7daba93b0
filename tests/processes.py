"""What tests of processes share: whether one is there, and scripts whose processes must not outlive them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]


def there(pid: int) -> bool:
    """Whether there is such a process, be it a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def gone(pid: int, within_s: float = 10.0) -> bool:
    """Whether it ends within so long."""
    end = time.monotonic() + within_s
    while there(pid):
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def pids_of_a_killed(script: str) -> list[int]:
    """Runs a script that prints numbers of processes and then a line ``ready``, and kills it there."""
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    found = []
    with process.stdout:
        for line in process.stdout:
            if line == "ready\n":
                break
            found.append(int(line))
        process.send_signal(signal.SIGKILL)
        process.wait()
    return found
