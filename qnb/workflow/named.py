"""A placeholder for a function or table of the user's of which only the name is known."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Named:
    """A function, or a table, of which a line of code and a file hold the name."""

    __name__: str
