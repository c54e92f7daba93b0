"""A named table that a new file can add a row to, and so can another package."""

from __future__ import annotations

import importlib
import pkgutil
import threading
import warnings
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Generic, TypeVar

from qnb.arguments import instead, short
from qnb.errors import InputError, PluginWarning, QnbError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")


class Registry(Generic[T]):
    """Maps names to things of one kind, with an error that lists what there is.

    Args:
        kind: what a row is, in messages.
        error: the class of its errors.
        of: what rows must be instances of.
        group: of the entry points by which other packages bring rows. The name of an entry point is that of its row,
            its value the module that adds the row (or an object in it). It is loaded when its name is asked for
            first, or all names are. One that cannot be loaded is a `PluginWarning`.

    Attributes:
        rows: those that are known so far.

    >>> colours = Registry("colour")
    >>> colours.add("red", 1)
    1
    >>> colours["red"]
    1
    """

    def __init__(self, kind: str, error: type[QnbError] = InputError, *, of: type = object, group: str = ""):
        self.kind, self.error, self.of, self.group = kind, error, of, group
        self.__doc__ = f"Maps names to rows, each a {kind}."
        self.rows: dict[str, T] = {}
        self._waiting: list[EntryPoint] | None = None
        self._lock = threading.RLock()

    def add(self, name: str, row: T) -> T:
        operation = f"register a {self.kind}"
        if not isinstance(row, self.of):
            raise self.error(
                operation, f"{name!r} of type {type(row).__name__}", f"give one of type {self.of.__name__}"
            )
        if name in self.rows:
            raise self.error(operation, f"{name!r} is taken", "choose another name")
        self.rows[name] = row
        return row

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator form of :meth:`add`."""
        return lambda row: self.add(name, row)

    def __getitem__(self, name: str) -> T:
        if name in self:
            return self.rows[name]
        raise self.error(f"find a {self.kind}", f"there is no {short(name)}", instead(name, self))

    def __contains__(self, name: object) -> bool:
        if isinstance(name, str) and name not in self.rows:
            self._load(name)
        return isinstance(name, str) and name in self.rows

    def __iter__(self) -> Iterator[str]:
        self._load()
        return iter(tuple(self.rows))

    def __len__(self) -> int:
        self._load()
        return len(self.rows)

    def _load(self, name: str | None = None) -> None:
        """Load the entry points of this name, or all that are left."""
        if not self.group:
            return
        with self._lock:  # another thread may be in the midst of it
            if self._waiting is None:
                from importlib.metadata import entry_points

                self._waiting = list(entry_points(group=self.group))
            for entry in [entry for entry in self._waiting if name in (None, entry.name)]:
                if entry in self._waiting:  # what is loaded may ask for others
                    self._waiting.remove(entry)
                    self._load_one(entry)

    def _load_one(self, entry: EntryPoint) -> None:
        try:
            entry.load()
        except (Exception, SystemExit) as error:
            why = f"cannot be loaded ({type(error).__name__}: {error})"
        else:
            if entry.name in self.rows:
                return
            why = f"does not register a {self.kind} of that name"
        package = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unknown package"
        warnings.warn(
            f"qnb goes on without the {self.kind} {entry.name!r} of the package {package}: its entry point "
            f"{entry.value!r} in the group {self.group!r} {why}. Update or uninstall the package.",
            PluginWarning,
            stacklevel=4,
        )


def modules(package: str) -> list[ModuleType]:
    """The files of a package, imported: a new one is found by being there.

    >>> any(module.__name__ == "qnb.charts.summary" for module in modules("qnb.charts"))
    True
    """
    found = pkgutil.iter_modules(importlib.import_module(package).__path__)
    return [importlib.import_module(f"{package}.{file.name}") for file in found if not file.ispkg]
