"""Run notebooks and store their outputs: ``python -m tools.execute_notebooks notebooks/*.ipynb``.

Stored outputs must come out the same on the next machine, so kernels get one thread and a fixed hash seed,
and what only describes the machine or the moment (timings, widget state, interpreter version) is not stored.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

SAME_EVERYWHERE = {
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    "PYTHONHASHSEED": "0",
    "QNB_PROGRESS": "off",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
}
"""For a kernel's environment: sums split among threads depend on how many there are."""
KERNEL = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
OF_A_MOMENT = ("execution", "ExecuteTime", "papermill", "collapsed", "jp-MarkdownHeadingCollapsed")


def execute(notebook: nbformat.NotebookNode, folder: Path, timeout: float = 600) -> nbformat.NotebookNode:
    """Run every cell in place, as the notebook would run in ``folder``.

    Args:
        timeout: seconds for one cell.

    Raises:
        CellExecutionError: a cell raised that is not tagged ``raises-exception``.
    """
    before = {key: os.environ.get(key) for key in SAME_EVERYWHERE}
    os.environ.update(SAME_EVERYWHERE)
    try:
        NotebookClient(
            notebook,
            timeout=timeout,
            kernel_name=KERNEL["name"],
            store_widget_state=False,
            record_timing=False,
            skip_cells_with_tag="nbval-skip",
            coalesce_streams=True,
            resources={"metadata": {"path": str(folder)}},
        ).execute()
    finally:
        for key, value in before.items():
            os.environ.pop(key) if value is None else os.environ.update({key: value})
    return portable(notebook)


def portable(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook without what belongs to one machine or one moment; cell ids stay.

    >>> cell = nbformat.v4.new_code_cell("1", metadata={"execution": {"iopub.status.busy": "2026"}}, id="a1")
    >>> made = portable(nbformat.v4.new_notebook(cells=[cell], metadata={"widgets": {}}))
    >>> sorted(made.metadata), dict(made.cells[0].metadata), made.cells[0].id
    (['kernelspec', 'language_info'], {}, 'a1')
    """
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": {"name": "python"}})
    for cell in notebook.cells:
        for key in OF_A_MOMENT:
            cell.metadata.pop(key, None)
    return notebook


def store(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Write in one step: whoever reads sees the old notebook or the new one."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            nbformat.write(notebook, file)
        os.chmod(temporary, path.stat().st_mode & 0o777 if path.exists() else 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.execute_notebooks", description=__doc__)
    parser.add_argument("notebooks", nargs="+", type=Path)
    for path in parser.parse_args(arguments).notebooks:
        start = time.monotonic()
        try:
            store(execute(nbformat.read(path, as_version=4), path.parent.resolve()), path)
        except CellExecutionError as error:
            print(f"{path}: not stored.\n{error}", file=sys.stderr)
            return 1
        print(f"{path}: {time.monotonic() - start:.0f} s, {path.stat().st_size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
