"""What stands for something of the user's that is known by its name alone."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Named:
    """A function, or a table, of which a line of code and a file hold the name."""

    __name__: str
