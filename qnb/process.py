"""A Python process of its own for a library that prints, crashes or hangs; the child's side is `qnb.process_child`."""

from __future__ import annotations

import io
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from qnb.errors import DependencyError

EVERY_S = 0.1
"""How often whoever waits for an answer is asked whether to go on."""
STILL_S = 300.0
"""A process that owes an answer and has used no processor time for so long will never give it."""
LOG_BYTES = 8192
"""What is read of the end of a process's log."""
_check: ContextVar[Callable[[], None] | None] = ContextVar("qnb process check", default=None)
_all: weakref.WeakSet[Process] = weakref.WeakSet()


class Ended(Exception):
    """The process is no more.

    Args:
        how: ``"was ended by signal SIGSEGV"``.
        log: the last lines that it and its libraries printed.
    """

    def __init__(self, how: str, log: list[str]):
        super().__init__(how)
        self.how, self.log = how, log


class Failed(Exception):
    """What the worker raised: ``kind`` is the class's name there, the text is the error's own."""

    def __init__(self, kind: str, text: str):
        super().__init__(text)
        self.kind = kind


@contextmanager
def while_waiting(check: Callable[[], None]) -> Iterator[None]:
    """Whenever this thread waits for an answer in here, call ``check()`` ten times a second; raise in it to stop."""
    before = _check.set(check)
    try:
        yield
    finally:
        _check.reset(before)


class Process:
    """A process that runs a worker's file, see `qnb.process_child.main`; it ends with this object or this process.

    Args:
        worker: the file; it has a class ``Worker``.
        operation: for the error where no process can be started.

    Raises:
        DependencyError: Python cannot be started.
    """

    def __init__(self, worker: str | os.PathLike, operation: str):
        command = [sys.executable, "-P", str(Path(__file__).with_name("process_child.py")), os.fspath(worker)]
        log = tempfile.TemporaryFile()
        try:
            popen = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                bufsize=0,
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except OSError as error:
            log.close()
            raise DependencyError(
                operation, f"Python cannot be started for another process: {error}", "let this process start others"
            ) from error
        self.popen, self.used, self._log = popen, time.monotonic(), log
        self._answers: queue.SimpleQueue = queue.SimpleQueue()
        self._turn, self._owner = threading.Lock(), os.getpid()
        self._end = weakref.finalize(self, _end, popen, log, self._owner)  # at the latest when Python exits
        _all.add(self)
        threading.Thread(target=_listen, args=(popen, self._answers), name="qnb process", daemon=True).start()

    def tell(self, **message: Any) -> None:
        """Send a message that has no answer; values are NumPy arrays, or what JSON has."""
        from qnb.process_child import write  # here because it loads NumPy

        try:
            write(self.popen.stdin, message)  # pyright: ignore[reportArgumentType]
        except (OSError, ValueError) as error:
            if isinstance(error, ValueError) and not self.popen.stdin.closed:
                raise
            raise self._ended() from error

    def ask(self, **message: Any) -> dict[str, Any]:
        """The answer to a message. Several threads may ask: they take turns.

        Where anything but an answer comes of it, an interrupt or what `while_waiting` raises included, the process is
        ended at once.

        Raises:
            Failed: the worker raised something; it can be asked again.
            Ended: the process ended, or was found to hang.
        """
        while not self._turn.acquire(timeout=EVERY_S):
            _asked_whether_to_go_on()
        try:
            self.tell(**message)
            answer = self._wait()
        except BaseException:
            self.close()
            raise
        finally:
            self._turn.release()
        self.used = time.monotonic()
        if "failure" in answer:
            raise Failed(answer["kind"], answer["failure"])
        return answer

    @property
    def alive(self) -> bool:
        """Whether this process can still use it; after a fork it belongs to the other one."""
        return self._owner == os.getpid() and self._end.alive and self.popen.poll() is None

    def close(self) -> None:
        """End it, whatever it does."""
        self._end()

    def _wait(self) -> dict[str, Any]:
        spent, since = _processor_s(self.popen.pid), time.monotonic()
        while True:
            try:
                answer = self._answers.get(timeout=EVERY_S)
                break
            except queue.Empty:
                _asked_whether_to_go_on()
            now = _processor_s(self.popen.pid)
            if now is None or now != spent:
                spent, since = now, time.monotonic()
            elif time.monotonic() - since > STILL_S:
                raise Ended(f"had done nothing for {STILL_S:.0f} s and was ended", self._last_lines())
        if answer is None:
            raise self._ended()
        return answer

    def _ended(self) -> Ended:
        code = self.popen.wait()
        if code < 0:
            try:
                return Ended(f"was ended by signal {signal.Signals(-code).name}", self._last_lines())
            except ValueError:  # one that has no name
                return Ended(f"was ended by signal {-code}", self._last_lines())
        number = f"{code} ({code:#x})" if code > 255 else str(code)  # Windows counts in hexadecimal
        return Ended(f"ended with exit code {number}", self._last_lines())

    def _last_lines(self) -> list[str]:
        if self._log.closed:
            return []
        self._log.seek(max(0, self._log.seek(0, io.SEEK_END) - LOG_BYTES))
        lines = self._log.read().decode(errors="replace").splitlines()
        return [line.strip()[:200] for line in lines if line.strip()]


class Spare:
    """One process that has nothing to do, for whoever needs one next: starting one takes half a second.

    Args:
        make: starts one.
        idle_s: after so long without a message it ends by itself.
    """

    def __init__(self, make: Callable[[], Process], idle_s: float):
        self._make, self._idle_s, self._kept = make, idle_s, []

    def take(self) -> Any:
        """The spare one, or a new one."""
        while self._kept:
            try:
                found = self._kept.pop()
            except IndexError:  # another thread was faster
                break
            if found.alive and time.monotonic() - found.used < 0.8 * self._idle_s:
                return found
            found.close()
        return self._make()

    def put(self, process: Process) -> None:
        """Keep one that has nothing to do; a second one is ended."""
        self._kept.append(process)
        while len(self._kept) > 1:
            self._kept.pop(0).close()


def _asked_whether_to_go_on() -> None:
    check = _check.get()
    if check is not None:
        check()


def _listen(popen: subprocess.Popen, answers: queue.SimpleQueue) -> None:
    """Holds no `Process`, so that one that nobody uses any more is freed."""
    from qnb.process_child import read

    with io.BufferedReader(popen.stdout) as stream:  # pyright: ignore[reportArgumentType]
        while (answer := read(stream)) is not None:
            answers.put(answer)
    popen.wait()
    answers.put(None)


def _end(popen: subprocess.Popen, log: Any, owner: int) -> None:
    if owner == os.getpid():
        popen.kill()
        popen.wait()
    else:
        popen.returncode = 0  # in a fork there is nobody to wait for
    popen.stdin.close()
    log.close()


def _processor_s(pid: int) -> float | None:
    """Processor time that a process has used, in the system's ticks; None where that is not to be had."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return float(fields[11]) + float(fields[12])


def _let_go() -> None:
    """In a fork, which would keep the processes from seeing that the one that they belong to has ended."""
    for process in list(_all):
        process.popen.stdin.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)
