"""Files are written beside their place and moved there when complete: a reader sees the old file or the new one."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from qnb.errors import FileError

if TYPE_CHECKING:
    from os import PathLike

_REMEDIES = {
    errno.ENOSPC: "free some space, or choose another disk; the file that was there is unchanged",
    errno.EDQUOT: "free some space, or choose another disk; the file that was there is unchanged",
    errno.EISDIR: "give the name of a file in it",
}


@contextmanager
def replacing(path: str | PathLike) -> Iterator[BinaryIO]:
    """A file to write to, which takes the place of ``path`` at the end; on any error it is deleted and
    ``path`` is unchanged.

    A link is followed. A file that is replaced passes its permissions on; a new one gets those that the umask leaves.

    Raises:
        FileError: the folder is missing or cannot be written, the disk is full.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(Path(folder) / "x.txt") as file:
    ...         _ = file.write(b"whole")
    ...     [(p.name, p.read_text()) for p in Path(folder).iterdir()]
    [('x.txt', 'whole')]
    """
    try:
        target = Path(path).resolve()
        with _beside(target) as file:
            yield file
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "choose a folder that exists and can be written")
        raise FileError(f"save {str(path)!r}", error.strerror or str(error), remedy) from error


@contextmanager
def _beside(target: Path) -> Iterator[BinaryIO]:
    """The hidden file, in the same folder, so that it can be moved in one step."""
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    hidden = target.with_name(f".qnb-{secrets.token_hex(8)}")
    # The kernel takes the umask away from 0o666: asking for the umask would set it, in all threads, for a moment.
    handle = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with os.fdopen(handle, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            os.chmod(hidden, target.stat().st_mode & 0o7777)
        os.replace(hidden, target)
    except BaseException:
        with suppress(OSError):
            hidden.unlink(missing_ok=True)
        raise


def write_atomically(path: str | PathLike, data: bytes) -> None:
    """Replace a file by these bytes, as a whole: see `replacing`.

    Raises:
        FileError: the folder is missing or cannot be written, the disk is full.
    """
    with replacing(path) as file:
        file.write(data)
