"""Arguments checked before any work: names with the nearest valid one in the message, values of the right kind."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral, Real
from typing import Any

from qnb.errors import InputError

LIKE, SURELY = 0.6, 0.75
"""Likeness of two names, as `difflib` counts it: "iterations" and "train" have 0.67."""


def nearest(given: object, known: Iterable[str], most: int = 1, cutoff: float = LIKE) -> list[str]:
    """The known names that are spelt most like the given one, whatever their case; those that it begins come first.

    Args:
        cutoff: the least likeness, 0 to 1. At `LIKE` or more, a name with another first letter must be `SURELY` alike.

    >>> nearest("MSE", ["minmax", "mse"]), nearest("perc", ["minmax", "percentile"]), nearest("x", ["minmax"])
    (['mse'], ['percentile'], [])
    """
    wanted, by_form = str(given)[:200].casefold(), {str(name).casefold(): name for name in known}
    begun = [form for form in by_form if len(wanted) > 2 and form.startswith(wanted)]
    alike = difflib.get_close_matches(wanted, by_form, most + 5, cutoff)
    if cutoff >= LIKE:
        surely = difflib.get_close_matches(wanted, alike, most, SURELY) if alike else []
        alike = [form for form in alike if form[:1] == wanted[:1] or form in surely]
    within = {form.rsplit("_", 1)[-1]: form for form in by_form if "_" in form}  # "method" is in "calibration_method"
    last = [within[part] for part in difflib.get_close_matches(wanted, within, most, SURELY)]
    return [by_form[form] for form in dict.fromkeys([*begun, *alike, *last])][:most]


def did_you_mean(
    given: object, known: Iterable[str], form: Callable[[str], str] = repr, most: int = 1, cutoff: float = LIKE
) -> str:
    """How a remedy begins where something near is known, ``"Did you mean 'mse'? "``; else empty."""
    found = " or ".join(form(name) for name in nearest(given, known, most, cutoff))
    return f"Did you mean {found}? " if found else ""


def instead(given: object, known: Iterable[str], form: Callable[[str], str] = str) -> str:
    """A remedy for a name that does not exist.

    >>> instead("mes", ["minmax", "mse"]), instead("entropy", ["minmax", "mse"])
    ("Did you mean 'mse'? There are minmax, mse", 'use one of minmax, mse')
    """
    known = list(known)
    hint, listed = did_you_mean(given, known), ", ".join(map(form, known))
    return f"{hint}There are {listed}" if hint else f"use one of {listed}"


def short(value: object) -> str:
    """A value as code, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def check_options(operation: str, given: Mapping[str, Any], known: Iterable[str], owner: str) -> None:
    """Whether every option is known.

    Raises:
        InputError: the first that is not, the nearest that is, and all that ``owner`` takes.
    """
    known = list(known)
    for name, value in given.items():
        if name not in known:
            hint = did_you_mean(name, known, lambda near, value=value: f"{near}={short(value)}")
            takes = f"{owner} takes {', '.join(known) or 'no options'}"
            raise InputError(operation, f"unknown option {name}={short(value)}", f"{hint}{takes}")


def check_kind(operation: str, name: str, value: object, like: object) -> None:
    """Whether a value is of the kind of an option's default: True or False, a whole number, or a number."""
    if isinstance(like, bool):
        flag(operation, name, value)
    elif isinstance(like, int):
        whole(operation, name, value, None)
    elif isinstance(like, float) and not is_number(value):
        raise InputError(operation, f"{name}={short(value)}", "give a number")


def is_number(value: object) -> bool:
    """Whether a value is a real number; True and False are none.

    >>> is_number(2), is_number(float("nan")), is_number(True), is_number("2")
    (True, True, False, False)
    """
    return isinstance(value, Real) and not isinstance(value, bool)


def flag(operation: str, name: str, value: object) -> None:
    """Whether a value is True or False."""
    if not isinstance(value, bool):
        raise InputError(operation, f"{name}={short(value)}", "give True or False")


def whole(operation: str, name: str, value: object, least: int | None = 1) -> None:
    """Whether a value is a whole number, and no smaller than ``least``."""
    if isinstance(value, bool) or not isinstance(value, Integral) or (least is not None and value < least):
        wanted = "a whole number" if least is None else f"a whole number of {least} or more"
        raise InputError(operation, f"{name}={short(value)}", f"give {wanted}")


def one_of(operation: str, name: str, value: object, known: Iterable[str]) -> None:
    """Whether a value is one of the known names."""
    known = list(known)
    if value not in known:
        raise InputError(operation, f"{name}={short(value)}", instead(value, known, repr))
