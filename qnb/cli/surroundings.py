"""What the doctor looks at: this interpreter, its packages, JupyterLab's folders. Tests replace them."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

PROBE_S = 20
"""How long another process may take."""
TORCH = (
    "import json, torch; print(json.dumps({'threads': torch.get_num_threads(), 'gpu': "
    "torch.cuda.get_device_name(0) if torch.cuda.is_available() else None}))"
)


def release(version: str) -> Version:
    """The part of a version that is compared: a pre-release, or a build of one's own, counts as the release.

    >>> str(release("2.13.0+cpu")), release("9.0.0rc1") >= release("9")
    ('2.13.0', True)
    """
    return Version(Version(version).base_version)


def installed(name: str) -> str | None:
    """A distribution's version; None where it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def requirements() -> tuple[str, ...]:
    """What qnb needs, as its metadata says; nothing where qnb runs without being installed."""
    try:
        return tuple(importlib.metadata.requires("qnb") or ())
    except importlib.metadata.PackageNotFoundError:
        return ()


def probe(command: list[str]) -> str:
    """What a short command prints.

    Raises:
        RuntimeError: it failed; the text is the last line that it said.
    """
    done = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_S)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise RuntimeError(lines[-1])
    return done.stdout


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Surroundings:
    """Each part has the value of this process unless another is given."""

    python: tuple[int, ...] = tuple(sys.version_info[:3])
    executable: str = sys.executable
    prefix: Path = Path(sys.prefix)
    requires: tuple[str, ...] = field(default_factory=requirements)
    version: Callable[[str], str | None] = installed
    importable: Callable[[str], bool] = lambda name: importlib.util.find_spec(name) is not None
    jupyter: str | None = field(default_factory=lambda: shutil.which("jupyter"))
    run: Callable[[list[str]], str] = probe
    cores: int = field(default_factory=_cores)
    system: str = field(default_factory=platform.system)
    machine: str = field(default_factory=platform.machine)
    libc: tuple[str, str] = field(default_factory=platform.libc_ver)
    data: tuple[Path, ...] | None = None
    config: tuple[Path, ...] | None = None
    """Jupyter's folders, the first counting most; None: what jupyter_core says."""

    def bounds(self) -> Mapping[str, str]:
        """Package to the lowest version that qnb works with; extras apart."""
        needed = [r for r in map(Requirement, self.requires) if "extra" not in str(r.marker)]
        return {r.name: bound.version for r in needed for bound in r.specifier if bound.operator == ">="}

    @functools.cached_property
    def server(self) -> Path:
        """The environment whose JupyterLab a plain ``jupyter lab`` starts."""
        if self.jupyter is None:
            return self.prefix
        script = Path(self.jupyter)
        beside = script.parent.parent
        # A link (as pipx makes) leads to the environment; in one, the script itself is no link.
        return script.resolve().parent.parent if script.is_symlink() else beside

    @property
    def server_python(self) -> str:
        """That environment's interpreter."""
        if same(self.server, self.prefix):
            return self.executable
        names = [self.server / n for n in ("bin/python", "bin/python3", "Scripts/python.exe")]
        return str(next((n for n in names if n.exists()), names[0]))

    def folders(self, kind: str, prefix: Path) -> list[Path]:
        """Jupyter's folders of data or config, as seen from an environment; the first counts most."""
        given = self.data if kind == "data" else self.config
        if given is not None:
            found = list(given)
        else:
            from jupyter_core import paths

            found = [Path(p) for p in (paths.jupyter_path() if kind == "data" else paths.jupyter_config_path())]
        # Each environment has its own folder, the others are shared.
        return [prefix / p.relative_to(self.prefix) if p.is_relative_to(self.prefix) else p for p in found]

    @functools.cached_property
    def torch(self) -> dict:
        """What torch says, asked in a process of its own: a crash there does not end this process."""
        return json.loads(self.run([self.executable, "-c", TORCH]).splitlines()[-1])


def same(a: Path | str, b: Path | str) -> bool:
    return os.path.normcase(os.path.realpath(a)) == os.path.normcase(os.path.realpath(b))
