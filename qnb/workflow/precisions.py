"""The precisions of the workflow, from the top down, and which of two is lower."""

from __future__ import annotations

import re
from functools import cache

from qnb.columns import CONTROL
from qnb.errors import PrecisionError
from qnb.numerics import FloatGrid, Precision

LADDER = ("fp16", CONTROL, "w8a16", "w8a8", "w4a8")
"""Proposed one after the other. Any other precision has its place between them."""


def bits(precision: str) -> tuple[int, int]:
    """Of weights and of activations; 32 where a part stays in FP32.

    >>> bits("w4a8"), bits("fp16"), bits("custom(weights=int4 block 32, activations=fp32)")
    ((4, 8), (16, 16), (4, 32))
    """
    return _known(precision)[:2]


def is_float(precision: str) -> bool:
    return _known(precision)[2]


def nameable(precision: str) -> bool:
    """Whether `Workflow.run` takes the name: a run of a `qnb.Precision` of one's own may have none."""
    return _parsed(precision) is not None


def lower(one: str, other: str) -> bool:
    """Whether one has fewer bits than the other, and more for neither. FP16 and W16A16 both have 16 bits: neither
    is lower.

    >>> lower("w8a8", "w8a16"), lower("w4a16", "w8a8"), lower("w16a16", "fp16")
    (True, False, False)
    """
    return bits(one) != bits(other) and all(a <= b for a, b in zip(bits(one), bits(other), strict=True))


def answers(one: str, other: str) -> bool:
    """Whether ``one`` passing leaves nothing to ask of ``other``: it has as few bits or fewer. A float format says
    nothing of integers.

    >>> answers("w8a8", "w8a16"), answers("w16a16", "fp16"), answers("fp16", "w16a16")
    (True, True, False)
    """
    fewer = all(a <= b for a, b in zip(bits(one), bits(other), strict=True))
    return one == other or (fewer and (is_float(other) or not is_float(one)))


def above(precision: str) -> str | None:
    """The step of the ladder just above an integer precision; None above W16A16.

    >>> above("w4a8"), above("w6a8"), above("w4a16"), above("w8a16"), above("w16a16")
    ('w8a8', 'w8a8', 'w8a16', 'w16a16', None)
    """
    return next((step for step in reversed(LADDER[1:]) if lower(precision, step)), None)


def place(precision: str) -> tuple:
    """To sort by: the most bits first, at the same bits floats first."""
    weights, activations = bits(precision)
    return -weights, -activations, not is_float(precision), precision


@cache
def _parsed(precision: str) -> Precision | None:
    try:
        return Precision.parse(precision)
    except PrecisionError:
        return None


def _known(precision: str) -> tuple[int, int, bool]:
    found = _parsed(precision)
    if found is None:  # the name of a `Precision` of one's own says its bits
        said = [int(number) for number in re.findall(r"=(?:u?int|fp|bf)(\d+)", precision)]
        return (*said, 32, 32)[0], (*said, 32, 32)[1], False
    weights, activations = (32 if grid is None else grid.bits for grid in (found.weights, found.activations))
    return weights, activations, isinstance(found.weights, FloatGrid)
