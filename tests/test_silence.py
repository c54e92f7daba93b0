"""What C code prints stays out of a notebook's cells."""

import io
import os
import sys
from types import SimpleNamespace

from qnb.silence import silent_in_cells


def test_a_library_s_own_output_stays_out_of_cells_and_a_terminal_keeps_it(capfd, monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    with silent_in_cells():
        os.write(1, b"from a library")
    os.write(1, b"after")
    assert capfd.readouterr().out == "after"
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(fileno=lambda: 1))
    with silent_in_cells():
        os.write(1, b"terminal")
    assert capfd.readouterr().out == "terminal"
