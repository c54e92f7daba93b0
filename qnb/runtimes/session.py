"""Sessions of ONNX Runtime: their options, and its errors as qnb's."""

from __future__ import annotations

import importlib
from collections.abc import Collection, Mapping
from typing import Any

from qnb.errors import DependencyError, FileError


def first_line(error: Exception) -> str:
    """An error of ONNX Runtime without its number and what follows the first line."""
    return str(error).strip().splitlines()[0].rpartition(" : ")[2] if str(error).strip() else type(error).__name__


def need(package: str, operation: str) -> None:
    """Raises DependencyError where a package cannot be imported."""
    try:
        importlib.import_module(package)
    except ImportError as error:
        raise DependencyError(operation, f"{package} is not installed", f"pip install {package}") from error


def open_session(
    source: str | bytes,
    options: Any,
    providers: list[str] | None,
    operation: str,
    *,
    without: Collection[str] = (),
) -> Any:
    """An InferenceSession, ``without`` these optimizers; what ONNX Runtime refuses is a FileError."""
    import onnxruntime

    try:
        return onnxruntime.InferenceSession(source, options, providers=providers, disabled_optimizers=list(without))
    except Exception as error:
        raise FileError(operation, f"ONNX Runtime refuses the file: {first_line(error)}", "export it again") from error


def attributes(threads: int | None) -> dict[str, Any]:
    """Of the ``onnxruntime.SessionOptions`` of both runtimes: deterministic, and by default with all optimizations."""
    return {"use_deterministic_compute": True, **({} if threads is None else {"intra_op_num_threads": threads})}


def session_options(threads: int | None, sizes: Mapping[str, int]) -> Any:
    """Options of a session in this process, quiet."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    for name, value in attributes(threads).items():
        setattr(options, name, value)
    options.log_severity_level = 4  # what it logs as an error is raised too, and becomes an error of qnb
    for name, size in sizes.items():
        options.add_free_dimension_override_by_name(name, size)
    return options
