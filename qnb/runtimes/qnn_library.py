"""Qualcomm's runtime library: whether it is here, loaded once, quietly."""

from __future__ import annotations

import ctypes
import importlib
import platform
import threading
from typing import Any

from qnb.errors import DependencyError
from qnb.silence import without_lines

PROVIDER = "QNNExecutionProvider"
INSTALL = "pip install 'qnb[qnn]'"
PLATFORMS = "x86-64 Linux with glibc 2.35 or newer, or Windows, with Python 3.11 or newer"
LOADED = b" # LIBNATIVE:"
"""So begins a line about its thread-local storage that the emulator prints when it is loaded, whatever is set."""
_LOCK = threading.Lock()


def unsupported() -> str | None:
    """Why onnxruntime-qnn is not made for this platform; None where it is."""
    machine, system = platform.machine().lower(), platform.system()
    if system == "Windows" and machine in ("amd64", "x86_64", "arm64", "aarch64"):
        return None
    libc, version = platform.libc_ver() if system == "Linux" else ("", "")
    if system == "Linux" and machine in ("x86_64", "amd64") and libc == "glibc":
        number = tuple(int(part) for part in version.split(".")[:2])
        return None if number >= (2, 35) else f"glibc {version}"
    return f"{system} on {platform.machine()}{f' with {libc} {version}' if libc else ''}"


def qnn_available() -> str | None:
    """None where `qnb.runtimes.QnnHtp` can run, else the reason why not.

    >>> qnn_available() is None or isinstance(qnn_available(), str)
    True
    """
    reason = unsupported()
    if reason:
        return f"onnxruntime-qnn does not run on {reason}"
    for package in ("onnxruntime", "onnxruntime_qnn"):
        try:
            importlib.import_module(package)
        except ImportError as error:
            missing = isinstance(error, ModuleNotFoundError) and error.name == package
            name = package.replace("_", "-")
            return f"{name} is not installed" if missing else f"{name} cannot be imported ({error})"
    return None


def need_qnn(operation: str) -> None:
    """Raises DependencyError, with what to install or which platforms there are, where QNN cannot run."""
    reason = qnn_available()
    if reason:
        raise DependencyError(operation, reason, f"use {PLATFORMS}" if unsupported() else INSTALL)


def device() -> Any:
    """The provider's device, its library registered at the first call."""
    import onnxruntime
    import onnxruntime_qnn

    with _LOCK:
        found = [d for d in onnxruntime.get_ep_devices() if d.ep_name == PROVIDER]
        if not found:
            with without_lines(LOADED):
                ctypes.CDLL(onnxruntime_qnn.get_qnn_htp_path())
            onnxruntime.register_execution_provider_library(PROVIDER, onnxruntime_qnn.get_library_path())
            found = [d for d in onnxruntime.get_ep_devices() if d.ep_name == PROVIDER]
    if not found:
        raise DependencyError("QnnHtp", "onnxruntime-qnn offers no device here", f"{INSTALL}, for {PLATFORMS}")
    return found[0]
