"""``qnb lab``: JupyterLab on the tutorial notebooks."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path

from qnb.errors import InputError

OPERATION = "qnb lab"
FOLDER = "qnb-notebooks"
CHECKOUT = Path(__file__).parents[2]
Runner = Callable[[list[str], Path], int]


def run(command: list[str], folder: Path) -> int:
    """Run a command in a folder until it ends; its exit status."""
    process = subprocess.Popen(command, cwd=folder)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            pass  # JupyterLab has heard it too, and asks whether to stop


def lab(
    folder: str | os.PathLike | None = None,
    arguments: Sequence[str] = (),
    *,
    runner: Runner = run,
    checkout: Path = CHECKOUT,
    say: Callable[[str], None] = print,
) -> int:
    """Open JupyterLab on the first tutorial notebook.

    Args:
        folder: where to copy the notebooks, ``./qnb-notebooks`` if None; a notebook that exists there is
            kept. In a checkout None opens its own notebooks.
        arguments: for ``jupyter lab``.
        runner: gets the command and the folder to run it in, returns the exit status.
        checkout: the folder that holds the package, and in a checkout ``notebooks``.
        say: is told, line by line, what was copied.

    Raises:
        InputError: JupyterLab is missing, there are no notebooks, or the folder cannot be written to.
    """
    if importlib.util.find_spec("jupyterlab") is None:
        raise InputError(
            OPERATION,
            f"JupyterLab is not installed for {sys.executable}",
            f"run {sys.executable} -m pip install jupyterlab",
        )
    own = checkout / "notebooks" if (checkout / "pyproject.toml").is_file() else None
    found = _notebooks(own) if own is not None else _notebooks(resources.files("qnb") / "tutorials")
    if not found:
        raise InputError(
            OPERATION,
            "this installation holds no notebooks",
            f"reinstall: {sys.executable} -m pip install --force-reinstall --no-deps qnb",
        )
    if own is not None and folder is None:
        place = own
    else:
        place = Path(FOLDER if folder is None else folder).expanduser().absolute()
        copy(found, place, say)
    as_root = hasattr(os, "geteuid") and os.geteuid() == 0 and "--allow-root" not in arguments
    command = [sys.executable, "-m", "jupyter", "lab", *(["--allow-root"] if as_root else []), next(iter(found))]
    return runner([*command, *arguments], place)


def _notebooks(folder) -> dict[str, bytes]:
    """Name to content of each notebook, in name order; nothing where there is no such folder."""
    if not folder.is_dir():
        return {}
    return {f.name: f.read_bytes() for f in sorted(folder.iterdir(), key=lambda f: f.name) if f.name.endswith(".ipynb")}


def copy(notebooks: dict[str, bytes], folder: Path, say: Callable[[str], None]) -> None:
    """Write notebooks into a folder, which is made where it is missing; none that exists is touched.

    Raises:
        InputError: the folder cannot be made or written to.
    """
    kept = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in notebooks.items():
            try:
                with (folder / name).open("xb") as file:  # x: fails where there is one, at whatever moment it came
                    file.write(content)
            except FileExistsError:
                kept.append(name)
        if not os.access(folder, os.W_OK):  # all were there, but nothing could be saved
            raise PermissionError(f"{folder} is read-only")
    except OSError as error:
        why = f"{type(error).__name__}: {error.strerror or error}"
        raise InputError(
            OPERATION, f"cannot write to {folder} ({why})", "name a folder of yours: qnb lab ~/qnb-notebooks"
        ) from error
    if len(kept) < len(notebooks):
        say(f"Copied to {folder}: {', '.join(n for n in notebooks if n not in kept)}")
    if kept:
        say(f"Already in {folder}, unchanged: {', '.join(kept)}")
