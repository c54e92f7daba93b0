"""What a file may hold: its JSON is parsed within bounds and checked against a schema before anything is made of it.

Files may come from strangers. A reader accepts what qnb itself writes and nothing else: every object names its keys,
every text, number and list has a bound. What passes is plain data; whoever turns a part of it into more than data (a
name in generated source, an op) checks that part itself. See SECURITY.md.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from functools import cache
from typing import Any

from qnb.errors import FileError

LARGEST = 1 << 28
"""Bytes of JSON that are read at most."""
LONGEST = 1 << 16
"""Characters of a text at most."""
MANY = 1 << 22
"""Entries of a list or object at most."""

TEXT = {"type": "string", "maxLength": LONGEST}
FLAG = {"type": "boolean"}
WHOLE = {"type": "integer", "minimum": -(1 << 62), "maximum": 1 << 62}
COUNT = {"type": "integer", "minimum": 0, "maximum": 1 << 62}
FINITE = {"type": "number", "minimum": -sys.float_info.max, "maximum": sys.float_info.max}
"""JSON reads 1e999 as infinity, and integers of any size."""
NUMBER = {"anyOf": [FINITE, {"enum": ["nan", "inf", "-inf"]}]}
"""JSON has no NaN and no infinity: they travel as text."""
_HALF = re.compile(r"[\ud800-\udfff]|\\u[dD][89a-fA-F]")
IDENTIFIER = {"type": "string", "pattern": r"^[A-Za-z_][A-Za-z0-9_]*\Z", "maxLength": 1024}


def record(required: Mapping[str, Any], optional: Mapping[str, Any] | None = None) -> dict:
    """An object with these keys and no others."""
    optional = optional or {}
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": list(required),
        "additionalProperties": False,
    }


def table_of(values: Mapping[str, Any], keys: Mapping[str, Any] = TEXT) -> dict:
    """An object with any keys, all of whose values are alike."""
    return {"type": "object", "additionalProperties": values, "propertyNames": keys, "maxProperties": MANY}


def list_of(items: Mapping[str, Any], most: int = MANY) -> dict:
    return {"type": "array", "items": items, "maxItems": most}


def maybe(schema: Mapping[str, Any]) -> dict:
    """That, or null."""
    return {"anyOf": [{"type": "null"}, schema]}


def parse(data: bytes | str, operation: str, remedy: str) -> Any:
    """JSON within bounds.

    Raises:
        FileError: too large, too deeply nested, or no JSON.

    >>> parse(b'{"bits": 8}', "read a file", "write it again")
    {'bits': 8}
    """
    if len(data) > LARGEST:
        raise FileError(operation, f"{len(data):,} bytes of JSON, more than any qnb file has", remedy)
    try:
        text = data if isinstance(data, str) else data.decode("utf-8")
        value = json.loads(text, parse_constant=_no_constant)
        if _HALF.search(text):  # half a character has no form in UTF-8: nothing could show or write it
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        return value
    except (ValueError, RecursionError) as error:
        raise FileError(operation, f"the file is damaged ({error})", remedy) from error


def _no_constant(name: str):
    raise ValueError(f"{name} is not JSON")


def check(value: Any, schema: Mapping[str, Any], operation: str, remedy: str) -> None:
    """Whether parsed JSON is what the schema (JSON Schema 2020-12) describes.

    Raises:
        FileError: names the place, what stands there, and what may.

    >>> check({"bits": "eight"}, record({"bits": COUNT}), "read a file", "write it again")
    Traceback (most recent call last):
    qnb.errors.FileError: read a file: the file is damaged: at $.bits, 'eight' is not of type 'integer'. To fix: ...
    """
    from jsonschema.exceptions import best_match

    try:
        first = next(_validator()(schema).iter_errors(value), None)
        error = first and best_match([first])
    except RecursionError as deep:
        raise FileError(operation, "the file is damaged: it is nested too deeply", remedy) from deep
    if error is not None:
        said = error.message if len(error.message) <= 200 else f"{error.message[:90]} ... {error.message[-90:]}"
        raise FileError(operation, f"the file is damaged: at {error.json_path[:200]}, {said}", remedy)


@cache
def _validator():
    """jsonschema's, but for two things: it calls 8.0 an integer, which Python does not; and where no alternative fits,
    it looks for all that is wrong with each of them, which takes minutes where there is much of it."""
    from jsonschema import Draft202012Validator, validators

    strict = Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    )
    return validators.extend(Draft202012Validator, {"anyOf": _any_of}, type_checker=strict)


def _any_of(validator, schemas, value, schema):
    from jsonschema import ValidationError

    context = []
    for index, one in enumerate(schemas):
        first = next(validator.descend(value, one, schema_path=index), None)
        if first is None:
            return
        context.append(first)
    yield ValidationError(f"{value!r} is not allowed here", context=context)


def check_version(header: Any, kind: str, known: int, operation: str) -> None:
    """Whether a file says, under ``"version"``, that it has the version that this qnb writes.

    Raises:
        FileError: it has none, or that of an older or a newer qnb.
    """
    version = header.get("version") if isinstance(header, dict) else None
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise FileError(operation, f"not a {kind}: it has no version", "choose a file that qnb wrote")
    if version == known:
        return
    age, remedy = ("a newer", "update qnb: pip install -U qnb") if version > known else ("an older", _MAKE_ANEW)
    raise FileError(operation, f"{age} version of qnb wrote it: format {version}, and this one reads {known}", remedy)


_MAKE_ANEW = "make it again with this qnb: run the same steps, and save"
