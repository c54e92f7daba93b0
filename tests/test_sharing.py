"""A lock that readers share and a writer has alone."""

import copy
import pickle
import threading

import pytest

from qnb.errors import InputError
from qnb.sharing import Lock


def in_thread(work, *, ends: bool = True) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(5 if ends else 0.1)
    assert thread.is_alive() is not ends
    return thread


def hold(way) -> None:
    with way():
        pass


def test_readers_read_side_by_side_and_a_writer_waits_for_them():
    lock = Lock()
    with lock.shared():
        in_thread(lambda: hold(lock.shared))
        writer = in_thread(lambda: hold(lock.alone), ends=False)
    writer.join(5)
    assert not writer.is_alive()


def test_who_changes_is_alone():
    lock = Lock()
    with lock.alone():
        waiting = [in_thread(lambda: hold(lock.shared), ends=False), in_thread(lambda: hold(lock.alone), ends=False)]
    for thread in waiting:
        thread.join(5)
        assert not thread.is_alive()


def test_a_waiting_writer_comes_before_new_readers_and_a_reader_may_read_on():
    lock, order = Lock(), []

    def write():
        with lock.alone():
            order.append("write")

    def read():
        with lock.shared():
            order.append("read")

    with lock.shared():
        writer = in_thread(write, ends=False)
        reader = in_thread(read, ends=False)
        with lock.shared():  # already reading: waiting here would be for ever
            order.append("still reading")
    writer.join(5)
    reader.join(5)
    assert order == ["still reading", "write", "read"]


def test_whoever_holds_it_alone_may_take_it_again_both_ways():
    lock = Lock()
    with lock.alone(), lock.alone(), lock.shared():
        pass
    in_thread(lambda: hold(lock.alone))


def test_a_reader_that_would_wait_for_itself_is_told():
    lock = Lock()
    with lock.shared(), pytest.raises(InputError, match=r"sim\.copy"):
        hold(lock.alone)
    in_thread(lambda: hold(lock.alone))


def test_an_error_inside_gives_it_back():
    lock = Lock()
    for way in (lock.shared, lock.alone):
        with pytest.raises(ValueError), way():
            raise ValueError
    in_thread(lambda: hold(lock.alone))


def test_copies_have_locks_of_their_own():
    lock = Lock()
    with lock.alone():
        for other in (copy.deepcopy(lock), pickle.loads(pickle.dumps(lock))):
            in_thread(lambda other=other: hold(other.alone))
