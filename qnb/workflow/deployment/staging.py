"""A deployment's files take their place together: written to a hidden folder, moved when all is done."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from qnb.errors import FileError


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """A folder whose content takes its place in ``folder`` at the end, and vanishes on an error.

    Files and folders replace those of the same name; a folder of nothing but folders is filled up with these.
    """
    try:
        stage = Path(tempfile.mkdtemp(dir=folder, prefix=".qnb-"))
    except OSError as error:
        raise FileError(f"deploy to {folder}", str(error), "choose a folder that can be written") from error
    try:
        yield stage
        aside = Path(tempfile.mkdtemp(dir=stage))
        made = [path for path in stage.iterdir() if path != aside]
        for path in sorted(made, key=lambda p: p.suffix == ".onnx"):  # weights before the model
            _place(path, folder / path.name, aside / path.name)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _place(path: Path, target: Path, aside: Path) -> None:
    """Move one file or folder into place. A folder cannot replace another in one step: the old one goes aside."""
    if not path.is_dir() or not target.exists():
        os.replace(path, target)
    elif all(p.is_dir() for p in path.iterdir()):
        aside.mkdir()
        for inner in path.iterdir():
            _place(inner, target / inner.name, aside / inner.name)
    else:
        os.replace(target, aside)
        try:
            os.replace(path, target)
        except BaseException:
            os.replace(aside, target)
            raise


def check_ours(folders: Iterable[Path], contents: str, operation: str) -> None:
    """Whether folders that are to be replaced hold nothing but what a deployment wrote there.

    Args:
        contents: name of the file in each that lists its files.

    Raises:
        FileError: names what is in the way.
    """
    for path in folders:
        for place in (path.parent, path):
            if place.is_symlink() or (place.exists() and not place.is_dir()):
                raise FileError(operation, f"{str(place)!r} is in the way", "move it, or choose another folder")
        if path.exists() and (foreign := _foreign(path, contents)):
            raise FileError(
                operation,
                f"{str(path)!r}, which is to be replaced, holds {foreign!r}, of another origin",
                "move it, or choose another folder",
            )


def _foreign(path: Path, contents: str) -> str:
    """A file that a deployment did not write; empty where there is none."""
    try:
        listed = json.loads((path / contents).read_text())["files"]
        known = {contents, *map(str, listed)}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        known = set()
    found = sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_symlink() or not p.is_dir())
    return next((name for name in found if name not in known), "")
