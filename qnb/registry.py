"""A named table that a new file can add a row to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from qnb.arguments import instead, short
from qnb.errors import InputError, QnbError

T = TypeVar("T")


class Registry(Generic[T]):
    """Maps names to things of one kind, with an error that lists what there is.

    >>> colours = Registry("colour")
    >>> colours.add("red", 1)
    1
    >>> colours["red"]
    1
    """

    def __init__(self, kind: str, error: type[QnbError] = InputError):
        self.kind, self.error = kind, error
        self.rows: dict[str, T] = {}

    def add(self, name: str, row: T) -> T:
        if name in self.rows:
            raise self.error(f"register a {self.kind}", f"{name!r} is taken", "choose another name")
        self.rows[name] = row
        return row

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator form of :meth:`add`."""
        return lambda row: self.add(name, row)

    def __getitem__(self, name: str) -> T:
        if isinstance(name, str) and name in self.rows:
            return self.rows[name]
        raise self.error(f"find a {self.kind}", f"there is no {short(name)}", instead(name, self.rows))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self.rows

    def __iter__(self) -> Iterator[str]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)
