"""Names that runs may be kept under: other steps read some of them, and people read them all."""

from __future__ import annotations

from qnb.arguments import short
from qnb.errors import InputError, PrecisionError
from qnb.numerics import Precision

LONGEST = 100
FP32 = "fp32"


def check_name(name: object, precision: str, operation: str) -> None:
    """Whether a run of a precision may be kept under this name.

    The ladder and the next steps find the plain run of a precision by its name, and FP32 by ``"fp32"``: another run of
    that name would be taken for it.

    Raises:
        InputError: the name is no printable text, is too long, or stands for another precision.

    >>> check_name("w8a8", "w4a8", "flow.run")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    qnb.errors.InputError: flow.run: name='w8a8' for a run at w4a8; that is the name of w8a8's own run. To fix: ...
    """
    if not isinstance(name, str) or not name.strip() or name != name.strip() or not name.isprintable():
        raise InputError(operation, f"name={short(name)}", "give a name of printable characters, for example 'w8a8-2'")
    if len(name) > LONGEST:
        raise InputError(operation, f"a name of {len(name)} characters", f"use {LONGEST} at most")
    try:
        meant = Precision.parse(name).name
    except PrecisionError:
        return
    if meant != precision:
        whose = "the reference's name" if meant == FP32 else f"the name of {meant}'s own run"
        raise InputError(
            operation,
            f"name={name!r} for a run at {precision}; that is {whose}",
            f"choose another name, for example '{precision}-2'",
        )
