"""A C library's line stays out of sight, and nobody else's output is lost."""

import ctypes
import os
import platform
import threading

import pytest

from qnb.silence import without_lines

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="C's stdout can be replaced in glibc")
SPACE = b" # LIBRARY: "


def c_prints(text: bytes) -> None:
    c = ctypes.CDLL(None)
    c.puts(text)
    c.fflush(None)


def test_the_line_is_left_out_and_what_else_was_printed_follows(capfd):
    with without_lines(SPACE):
        ctypes.CDLL(None).puts(SPACE + b"no configuration")
        c_prints(b"from another library")
        assert capfd.readouterr().out == ""
    ctypes.CDLL(None).fflush(None)
    assert capfd.readouterr().out == "from another library\n"
    c_prints(b"after")
    assert capfd.readouterr().out == "after\n"


def test_what_python_prints_meanwhile_is_not_held_back(capfd):
    written = []
    with without_lines(SPACE):
        thread = threading.Thread(target=lambda: written.append(os.write(1, b"other thread\n")))
        thread.start()
        thread.join()
        print("python", flush=True)
        c_prints(SPACE)
        assert written and capfd.readouterr().out == "other thread\npython\n"
    assert capfd.readouterr().out == ""


def test_it_ends_with_an_error_too(capfd):
    with pytest.raises(OSError, match="no such"), without_lines(SPACE):
        raise OSError("no such library")
    c_prints(b"seen")
    assert capfd.readouterr().out == "seen\n"
