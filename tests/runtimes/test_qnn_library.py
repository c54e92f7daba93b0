"""Loading Qualcomm's library: nothing of it is seen, and what other threads print meanwhile is not lost."""

import subprocess
import sys

from tests.browser.lab import ROOT

LOAD = """
import os, threading
from qnb.runtimes.qnn_library import device
done, count = threading.Event(), 0
def write():
    global count
    while not done.wait(0.0005):
        os.write(1, b"other\\n")
        count += 1
thread = threading.Thread(target=write)
thread.start()
device()
done.set()
thread.join()
os.write(1, f"{count} lines\\n".encode())
"""


def test_only_what_others_print_is_seen(htp):
    ran = subprocess.run([sys.executable, "-c", LOAD], cwd=ROOT, capture_output=True, text=True, timeout=120)
    *others, last = ran.stdout.splitlines()
    assert set(others) == {"other"} and last == f"{len(others)} lines" and ran.stderr == ""
