"""The child's side of `qnb.process`: a worker that answers messages, in a process without a terminal.

It is started as a file, with the worker's file as its argument, so that it loads what the worker needs and not qnb.
Messages come on standard input and answers go out where standard output was. A message is a dict: the length of a
JSON text, the text, and the bytes of the arrays that it names; nothing is pickled or compressed.
"""

from __future__ import annotations

import importlib.util
import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np


def write(stream: BinaryIO, message: Mapping[str, Any]) -> None:
    """Write a message: NumPy arrays by name, and values that JSON has.

    >>> import io
    >>> stream = io.BytesIO()
    >>> write(stream, {"x": np.float32([1, 2]), "names": ["a"]})
    >>> read(io.BytesIO(stream.getvalue()))
    {'names': ['a'], 'x': array([1., 2.], dtype=float32)}
    """
    arrays = {name: np.asarray(value, order="C") for name, value in message.items() if _is_array(value)}
    plain = {name: value for name, value in message.items() if name not in arrays}
    kinds = [(name, array.dtype.str, array.shape) for name, array in arrays.items()]
    head = json.dumps([plain, kinds]).encode()
    for part in (len(head).to_bytes(8, "little"), head, *arrays.values()):
        # Of an array without elements or dimensions, there is no other view of bytes.
        left = memoryview(part.reshape(-1).view(np.uint8) if isinstance(part, np.ndarray) else part)  # pyright: ignore[reportArgumentType]
        while left:
            left = left[stream.write(left) :]
    stream.flush()


def read(stream: BinaryIO) -> dict[str, Any] | None:
    """The next message; None where there will be none."""
    length = stream.read(8)
    size = int.from_bytes(length, "little")
    head = stream.read(size)
    if len(length) < 8 or len(head) < size:
        return None
    message, kinds = json.loads(head)
    for name, dtype, shape in kinds:
        message[name] = np.empty(shape, dtype)
        body = memoryview(message[name].reshape(-1).view(np.uint8))
        if stream.readinto(body) < len(body):  # pyright: ignore[reportAttributeAccessIssue]
            return None
    return message


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray | np.generic)


def main(path: str) -> None:
    """Make the file's ``Worker()``, then let its ``answer(**message)`` answer until nobody is there to ask.

    ``answer`` gives a dict, or None where no answer is waited for; what it raises is the answer. After
    ``worker.idle_s`` seconds without a message the process ends; None stands for never.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a notebook's interrupt goes to all processes that it has started
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints goes to the log, like its errors
    messages: queue.SimpleQueue = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(messages,), daemon=True).start()
    worker, failure = None, None
    try:
        worker = _load(path)
    except Exception as error:  # for example, what it needs is not installed; whoever asks is told
        failure = error
    while True:
        try:
            message = messages.get(timeout=60.0 if worker is None else worker.idle_s)
        except queue.Empty:
            os._exit(0)  # not by way of Python's end, which would wait for the thread that reads
        try:
            if failure is not None:
                raise failure
            answer = worker.answer(**message)
        except Exception as error:
            answer = {"failure": str(error), "kind": type(error).__name__}
        if answer is not None:
            write(answers, answer)


def _load(path: str) -> Any:
    spec = importlib.util.spec_from_file_location("qnb_worker", path)
    module = importlib.util.module_from_spec(spec)  # pyright: ignore[reportArgumentType]
    spec.loader.exec_module(module)
    return module.Worker()


def _listen(messages: queue.SimpleQueue) -> None:
    """Whoever asks may end while an answer is being made; then nobody waits for it."""
    while (message := read(sys.stdin.buffer)) is not None:
        messages.put(message)
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
