"""Files are replaced as a whole or not at all, and nothing of the process is touched on the way."""

import errno
import os
import signal
import stat
import subprocess
import sys
import threading
import time

import pytest

from qnb.atomic import replacing, write_atomically
from qnb.errors import FileError

posix = pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")


def mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_file_and_a_replaced_one(tmp_path):
    path = tmp_path / "x.qnb"
    for data in (b"one", b"two, longer"):
        write_atomically(path, data)
        assert path.read_bytes() == data and [p.name for p in tmp_path.iterdir()] == ["x.qnb"]


@posix
@pytest.mark.parametrize(("mask", "expected"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_a_new_file_has_what_the_umask_leaves(tmp_path, mask, expected):
    before = os.umask(mask)
    try:
        write_atomically(tmp_path / "x", b"")
    finally:
        os.umask(before)
    assert mode(tmp_path / "x") == expected


@posix
def test_the_umask_is_never_asked_for_since_asking_sets_it(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("other threads see the umask that is set here"))
    write_atomically(tmp_path / "x", b"")


@posix
@pytest.mark.parametrize("kept", [0o600, 0o664, 0o444])
def test_a_replaced_file_passes_its_permissions_on(tmp_path, kept):
    path = tmp_path / "x"
    path.write_bytes(b"old")
    path.chmod(kept)
    write_atomically(path, b"new")
    assert mode(path) == kept and path.read_bytes() == b"new"


@posix
def test_a_link_stays_one(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder" / "real")
    write_atomically(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "folder" / "real").read_bytes() == b"new"


@pytest.mark.parametrize("error", [RuntimeError("mine"), KeyboardInterrupt(), SystemExit()])
def test_whatever_is_raised_leaves_the_old_file_alone(tmp_path, error):
    path = tmp_path / "x"
    path.write_bytes(b"old")
    with pytest.raises(type(error)), replacing(path) as file:
        file.write(b"half")
        raise error
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("call", "number", "says"),
    [
        ("fsync", errno.ENOSPC, "free some space"),
        ("replace", errno.EACCES, "can be written"),
        ("fsync", errno.EIO, "folder"),
    ],
)
def test_what_the_system_refuses_is_a_file_error(tmp_path, monkeypatch, call, number, says):
    path = tmp_path / "x"
    path.write_bytes(b"old")

    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(FileError, match=says) as error:
        write_atomically(path, b"new")
    assert os.strerror(number) in str(error.value) and "x" in error.value.operation
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_disk(tmp_path, monkeypatch):
    opened = os.open
    monkeypatch.setattr(os, "open", lambda name, flags, mode: (opened(name, flags, mode), opened("/dev/full", 1))[1])
    with pytest.raises(FileError, match="No space left on device. To fix: free some space"):
        write_atomically(tmp_path / "x", b"1" * 100_000)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("place", "says"), [("none/x", "folder that exists"), (".", "name of a file in it")])
def test_nowhere_to_write(tmp_path, place, says):
    with pytest.raises(FileError, match=says):
        write_atomically(tmp_path / place, b"")
    assert list(tmp_path.iterdir()) == []


def test_many_threads_and_one_file(tmp_path):
    path = tmp_path / "x"
    contents = [bytes([i]) * 50_000 for i in range(8)]
    seen, done = set(), threading.Event()

    def read():
        while not done.is_set():
            if path.exists():
                seen.add(path.read_bytes())

    reader = threading.Thread(target=read)
    writers = [threading.Thread(target=write_atomically, args=(path, data)) for data in contents]
    reader.start()
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    done.set()
    reader.join()
    assert path.read_bytes() in contents and seen <= set(contents) and list(tmp_path.iterdir()) == [path]


WRITER = """
import sys
from qnb.atomic import write_atomically
print("ready", flush=True)
for i in range(1_000_000):
    write_atomically(sys.argv[1], bytes([i % 256]) * 2_000_000)
"""


@posix
def test_a_killed_writer_leaves_a_whole_file(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"\0" * 2_000_000)
    for wait_s in (0.0, 0.003, 0.011, 0.027):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout.readline() == b"ready\n"
            time.sleep(wait_s)
            writer.send_signal(signal.SIGKILL)
        data = path.read_bytes()
        assert len(data) == 2_000_000 and len(set(data)) == 1
