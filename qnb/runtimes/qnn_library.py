"""Qualcomm's runtime library: whether it is here."""

from __future__ import annotations

import importlib
import platform

from qnb.errors import DependencyError

INSTALL = "pip install 'qnb[qnn]'"
PLATFORMS = "x86-64 Linux with glibc 2.35 or newer, or Windows, with Python 3.11 or newer"


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


def no_device(operation: str) -> DependencyError:
    """The error where QNN's library can be loaded, and has nothing to run on."""
    return DependencyError(operation, "onnxruntime-qnn offers no device here", f"{INSTALL}, for {PLATFORMS}")
