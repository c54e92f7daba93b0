"""When two numbers, and two texts with numbers in them, say the same.

Other instruction sets round sums differently, so stored numbers cannot be compared digit by digit; and
rounding them first would only move the place where two neighbours part. Hence tolerances.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from itertools import zip_longest

RELATIVE = 2e-3
DECIBEL, FINE_DECIBEL, FINE_ABOVE = 0.05, 0.5, 55.0
"""Decibels, and those of errors as small as 16-bit grids make. There, the last bit of a sum decides how a value is
rounded: the SQNR of a network of 22 layers moved by 0.31 dB between three instruction sets; below 55 dB, by less than
0.05."""
FLOOR = 1e-6
"""About the float32 noise of values near 10: smaller differences say nothing."""

_DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?"
NUMBER = re.compile(rf"(?:(?<![\w.)\]])[-+])?(?<![\w.]){_DIGITS}(?![A-Za-z_]\w*\d|\w*_)")
"""A number, but not the digits of a name (``w8a16``, ``conv2d``, ``layer1.0.conv1``)."""
ANY_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
"""Also directly after a letter, as in an SVG path."""

_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}\b")
_PATH = re.compile(r"(?<![\w.:/<])~?(?:/[\w.+@-]+){2,}/?(?::\d+)?")
_UNIT = re.compile(r"[\s\u00a0\u202f]*dB\b")
_HEADER = re.compile(r"(?:_db|\b(?:dB|db)[)\]]?)(?=[\s,]|$)")


def close(a: float, b: float, *, decibel: bool = False, floor: float = FLOOR) -> bool:
    """Whether two numbers agree: relative 2e-3, or 0.05 dB where they are decibels (0.5 dB above 55).

    >>> close(59.7806, 59.8306, decibel=True), close(8.0, 8.04), close(8.0, 8.04, decibel=True)
    (True, False, True)
    >>> close(82.02, 81.83, decibel=True), close(42.02, 41.83, decibel=True)
    (True, False)
    """
    if math.isnan(a) or math.isnan(b) or math.isinf(a) or math.isinf(b):
        return a == b or (math.isnan(a) and math.isnan(b))
    of_decibels = FINE_DECIBEL if min(a, b) > FINE_ABOVE else DECIBEL
    allowed = max(RELATIVE * max(abs(a), abs(b)), floor, of_decibels if decibel else 0.0)
    return abs(a - b) <= allowed * (1 + 1e-9)


def is_decibel_name(name: str) -> bool:
    """Whether a column header or an axis title speaks of decibels.

    >>> [is_decibel_name(n) for n in ("own_sqnr_db", "own sqnr db", "SQNR (dB), more is better", "dbscan")]
    [True, True, True, False]
    """
    return bool(_HEADER.search(name))


def compare_text(
    reference: str, test: str, *, decibel: bool = False, floor: float = FLOOR, pattern: re.Pattern = NUMBER
) -> Iterator[str]:
    """Yield how two texts differ: words must be equal, blanks may differ in number, numbers must be close.

    A number counts as decibels when ``decibel`` is set, when "dB" follows it, or when it stands
    right-aligned under a header that says so (a printed DataFrame).

    >>> list(compare_text("SQNR 59.7806 dB", "SQNR 59.7839 dB")), list(compare_text("w8a8", "w4a8"))
    ([], ["'w8a8' is now 'w4a8'"])
    """
    reference, test = portable(reference), portable(test)
    mine, theirs = list(pattern.finditer(reference)), list(pattern.finditer(test))
    words, other_words = _words(reference, mine), _words(test, theirs)
    for a, b in zip_longest(words, other_words, fillvalue=""):
        if a != b:
            yield f"{a[:120]!r} is now {b[:120]!r}"
            return
    columns = _decibel_columns(reference)
    for a, b in zip(mine, theirs, strict=True):
        in_decibel = decibel or bool(_UNIT.match(reference, a.end())) or _under(columns, reference, a.end())
        if not close(_value(a), _value(b), decibel=in_decibel, floor=floor):
            yield f"{a.group()} is now {b.group()} in {_around(reference, a)!r}"


def portable(text: str) -> str:
    """The text without what another machine cannot repeat: memory addresses, absolute paths and their lines.

    >>> portable("/home/a/lib/x.py:12: UserWarning: <object at 0x7f3a5c001d30> kept 3/4 of a/b/c")
    'PATH: UserWarning: <object at ADDRESS> kept 3/4 of a/b/c'
    """
    return _PATH.sub("PATH", _ADDRESS.sub("ADDRESS", text))


def _value(match: re.Match) -> float:
    return float(match.group().replace(",", ""))


def _words(text: str, numbers: list[re.Match]) -> list[str]:
    ends, starts = [0, *(m.end() for m in numbers)], [*(m.start() for m in numbers), len(text)]
    # A rule under a header grows with the numbers beneath it, and so do the blanks between columns.
    return [re.sub(r"-{3,}", "---", " ".join(text[i:j].split())) for i, j in zip(ends, starts, strict=True)]


def _decibel_columns(text: str) -> dict[int, list[int]]:
    """Line number -> right edges of the decibel columns that hold there; a blank line ends a table."""
    edges: list[int] = []
    found = {}
    for number, line in enumerate(text.split("\n")):
        if not line.strip():
            edges = []
        here = [m.end() for m in _HEADER.finditer(line)]
        found[number] = edges
        # A continued DataFrame has several header lines; the newest one counts.
        edges = here or edges
    return found


def _under(columns: dict[int, list[int]], text: str, end: int) -> bool:
    line_start = text.rfind("\n", 0, end) + 1
    return end - line_start in columns[text.count("\n", 0, line_start)]


def _around(text: str, match: re.Match) -> str:
    return text[max(0, match.start() - 40) : match.end() + 20]
