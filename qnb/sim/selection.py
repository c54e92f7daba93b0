"""Which layers a name, a glob or a list means."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from qnb.arguments import did_you_mean, short
from qnb.errors import InputError

KINDS = ("input", "activation", "weight", "bias")


def layers(names: Iterable[str], wanted: str | Iterable[str] | None, operation: str) -> set[str]:
    """The layers that ``wanted`` names; None means all.

    >>> sorted(layers(["a.conv", "a.add", "b.conv"], "*.conv", "example"))
    ['a.conv', 'b.conv']
    """
    names = list(dict.fromkeys(names))
    if wanted is None:
        return set(names)
    if not isinstance(wanted, Iterable):
        raise InputError(operation, f"layers={short(wanted)}", "give a name, a glob or a list of them: 'block1.*'")
    found: set[str] = set()
    for pattern in [wanted] if isinstance(wanted, str) else wanted:
        matches = {n for n in names if n == pattern} or {n for n in names if fnmatchcase(n, str(pattern))}
        if not matches:
            some = ", ".join(map(repr, names[:4])) + (", ..." if len(names) > 4 else "")
            hint = did_you_mean(pattern, names, most=3, cutoff=0.4) or f"use one of {some}; "
            raise InputError(operation, f"no layer matches {short(pattern)}", f"{hint}sim.layers() lists the names")
        found |= matches
    return found


def kind(wanted: str | None, operation: str) -> str | None:
    """Check a quantizer kind."""
    if wanted is not None and wanted not in KINDS:
        raise InputError(operation, f"kind {wanted!r}", f"use one of {', '.join(KINDS)}")
    return wanted
