"""A process of its own: what it answers, how it may end, and that nothing of it stays."""

import gc
import io
import os
import signal
import sys
import threading
import time

import numpy as np
import pytest

from qnb import process as processes
from qnb.errors import DependencyError
from qnb.process import Ended, Failed, Process, Spare, while_waiting
from qnb.process_child import read, write
from tests.processes import gone, pids_of_a_killed, there

posix = pytest.mark.skipif(os.name != "posix", reason="signals")
WORKER = """
import os, signal, time

class Worker:
    idle_s = None

    def answer(self, do, **rest):
        if do == "echo":
            return rest
        if do == "crash":
            print("what the library prints", flush=True)
            os.write(2, b"and writes\\n")
            os.kill(os.getpid(), signal.SIGSEGV)
        if do == "exit":
            os._exit(3)
        if do == "raise":
            raise KeyError("no such thing")
        if do == "sleep":
            time.sleep(rest["seconds"])
        if do == "spin":
            end = time.monotonic() + rest["seconds"]
            while time.monotonic() < end:
                pass
        return {}
"""


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "worker.py"
    file.write_text(WORKER)
    return file


@pytest.fixture
def process(path):
    found = Process(path, "test")
    yield found
    found.close()


ARRAYS = [
    np.float32([[1, 2], [3, 4]]),
    np.float16(0.5),
    np.array(7, np.uint16),
    np.zeros((0, 3), np.int64),
    np.array([True, False]),
    np.arange(24.0).reshape(2, 3, 4).transpose(2, 0, 1),
    np.array(["text"]),
    np.int64(-5),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype}{list(a.shape)}")
def test_a_message_arrives_as_it_was(array):
    stream = io.BytesIO()
    write(stream, {"array": array, "plain": [1, None, {"a": "b"}]})
    found = read(io.BytesIO(stream.getvalue()))
    assert found["plain"] == [1, None, {"a": "b"}] and found["array"].dtype == array.dtype
    assert found["array"].shape == array.shape and np.array_equal(found["array"], array)


def test_a_message_that_breaks_off_is_none():
    stream = io.BytesIO()
    write(stream, {"x": np.arange(10)})
    whole = stream.getvalue()
    assert [read(io.BytesIO(whole[:size])) for size in (0, 4, 8, 20, len(whole) - 1)] == [None] * 5
    with pytest.raises(TypeError):
        write(stream, {"x": np.array([object()])})


def test_large_arrays_pass(process):
    x = np.random.default_rng(0).integers(0, 255, (3, 1 << 20)).astype(np.uint8)
    assert np.array_equal(process.ask(do="echo", x=x)["x"], x)


def test_threads_take_turns(process):
    found, threads = {}, []
    for number in range(8):
        ask = lambda n=number: found.update({n: process.ask(do="echo", n=n)["n"]})  # noqa: E731
        threads.append(threading.Thread(target=ask))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: number for number in range(8)}


def test_what_the_worker_raises_comes_back_and_it_goes_on(process):
    with pytest.raises(Failed, match="no such thing") as caught:
        process.ask(do="raise")
    assert caught.value.kind == "KeyError" and process.ask(do="echo", x=1) == {"x": 1}


@posix
def test_a_crash_says_how_and_what_was_printed_last(process):
    with pytest.raises(Ended, match="was ended by signal SIGSEGV") as caught:
        process.ask(do="crash")
    assert caught.value.log[:2] == ["what the library prints", "and writes"]
    assert not process.alive and not there(process.popen.pid)
    with pytest.raises(Ended):
        process.ask(do="echo")


def test_an_exit_says_its_code(process):
    with pytest.raises(Ended, match="ended with exit code 3"):
        process.ask(do="exit")


def test_whoever_waits_can_stop_it_at_once(process):
    asked = []

    def check():
        asked.append(time.monotonic())
        if len(asked) == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError), while_waiting(check):
        process.ask(do="sleep", seconds=600)
    assert time.monotonic() - asked[-1] < 0.5 and not process.alive and gone(process.popen.pid)
    with pytest.raises(Ended):
        process.ask(do="echo")


def test_who_waits_for_a_turn_can_stop_too_and_the_other_is_not_disturbed(process):
    found = []
    first = threading.Thread(target=lambda: found.append(process.ask(do="sleep", seconds=0.6)))
    first.start()
    time.sleep(0.1)

    def check():
        raise InterruptedError

    with pytest.raises(InterruptedError), while_waiting(check):
        process.ask(do="echo")
    first.join()
    assert found == [{}] and process.alive


@posix
def test_an_interrupt_ends_it_at_once(process, interrupts):
    process.ask(do="echo")
    os.kill(process.popen.pid, signal.SIGINT)  # it does not heed this itself
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        process.ask(do="sleep", seconds=600)
    timer.join()
    assert time.monotonic() - start < 5 and gone(process.popen.pid)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc")
def test_one_that_does_nothing_for_too_long_is_ended_and_one_that_computes_is_not(process, monkeypatch):
    monkeypatch.setattr(processes, "STILL_S", 0.5)
    assert process.ask(do="spin", seconds=1.0) == {}
    with pytest.raises(Ended, match="had done nothing"):
        process.ask(do="sleep", seconds=600)
    assert gone(process.popen.pid)


def test_nothing_is_left_of_one_that_nobody_uses(path, recwarn):
    process = Process(path, "test")
    process.ask(do="echo")
    pid = process.popen.pid
    del process
    gc.collect()
    assert gone(pid, 2.0)
    assert not [w for w in recwarn if issubclass(w.category, ResourceWarning)]


SCRIPT = """
import os, time
from qnb.process import Process
process = Process({path!r}, "test")
process.ask(do="echo")
process.tell(do={do!r}, seconds=600)
time.sleep(0.2)
print(process.popen.pid)
if {fork}:
    import warnings
    warnings.simplefilter("ignore")
    other = os.fork()
    if other == 0:
        assert not process.alive
        process.close()
        os.close(1)
        time.sleep(600)
    print(other)
    time.sleep(0.2)
    assert process.alive
print("ready", flush=True)
time.sleep(600)
"""


@posix
@pytest.mark.parametrize("do", ["sleep", "spin"])
def test_it_ends_when_the_other_is_killed(path, do):
    (pid,) = pids_of_a_killed(SCRIPT.format(path=str(path), do=do, fork=False))
    assert gone(pid, 5.0)


@posix
def test_a_fork_leaves_it_alone_and_does_not_keep_it(path):
    pid, fork = pids_of_a_killed(SCRIPT.format(path=str(path), do="sleep", fork=True))
    try:
        assert there(fork) and gone(pid, 5.0)
    finally:
        os.kill(fork, signal.SIGKILL)


def test_one_that_has_nothing_to_do_ends_by_itself_and_leaves_no_zombie(path):
    path.write_text(WORKER.replace("idle_s = None", "idle_s = 0.2"))
    process = Process(path, "test")
    process.ask(do="echo")
    assert gone(process.popen.pid) and process.popen.returncode == 0
    process.close()


def test_a_worker_that_cannot_start_says_so_to_who_asks(path):
    path.write_text("import no_such_package")
    process = Process(path, "test")
    with pytest.raises(Failed, match="no_such_package") as caught:
        process.ask(do="echo")
    assert caught.value.kind == "ModuleNotFoundError"
    process.close()


def test_where_no_process_can_be_started(path, monkeypatch):
    monkeypatch.setattr(processes.sys, "executable", str(path.parent / "nothing"))
    with pytest.raises(DependencyError, match="test: Python cannot be started"):
        Process(path, "test")


def test_a_spare_one_is_used_again_if_it_still_can(path):
    spare = Spare(lambda: Process(path, "test"), 60.0)
    first = spare.take()
    spare.put(first)
    assert spare.take() is first
    second = spare.take()
    spare.put(first)
    spare.put(second)
    assert not first.alive and second.alive, "one is kept"
    second.popen.kill()
    second.popen.wait()
    third = spare.take()
    assert third is not second and third.ask(do="echo", x=3) == {"x": 3}
    third.used -= 59
    spare.put(third)
    fourth = spare.take()
    assert fourth is not third and not third.alive
    fourth.close()
