"""What passes a schema is what it says, within bounds; what does not is told in a second, with its place."""

import json

import pytest

from qnb import schema
from qnb.errors import FileError

WHERE = "read a file", "write it again"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b"\xff",
        b"\xed\xa0\x80",
        b'"\\ud800"',
        '"\ud800"',
        b"NaN",
        b"[Infinity]",
        b"9" * 5000,
        b"1 2",
        b"\xef\xbb\xbf1",
    ],
    ids=ascii,
)
def test_what_is_no_json(data):
    with pytest.raises(FileError, match="read a file: the file is damaged .*write it again"):
        schema.parse(data, *WHERE)


@pytest.mark.parametrize("value", [{"a": [1, None, True, "\U0001f600", "\u00e9", -1e308]}, "x", 0, "\\ud800"])
def test_what_is_json(value):
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
        assert schema.parse(text.encode(), *WHERE) == schema.parse(text, *WHERE) == value


def test_more_than_any_file_has(monkeypatch):
    monkeypatch.setattr(schema, "LARGEST", 10)
    with pytest.raises(FileError, match="11 bytes"):
        schema.parse(b'"123456789"', *WHERE)


PERSON = schema.record({"name": schema.IDENTIFIER, "age": schema.COUNT}, {"size": schema.maybe(schema.NUMBER)})


@pytest.mark.parametrize(
    "value",
    [
        {"name": "a", "age": 0},
        {"name": "a", "age": 1, "size": None},
        {"name": "a", "age": 1, "size": "inf"},
        {"name": "_b1", "age": 1, "size": 1.5},
    ],
)
def test_what_fits(value):
    schema.check(value, PERSON, *WHERE)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, r"at \$,"),
        ({"name": "a"}, "'age' is a required"),
        ({"name": "a", "age": 1, "x": 1}, "'x' was unexpected"),
        ({"name": "a", "age": 1.0}, r"at \$\.age, 1\.0 is not of type 'integer'"),
        ({"name": "a", "age": True}, r"\$\.age"),
        ({"name": "a", "age": -1}, "minimum"),
        ({"name": "a", "age": 10**400}, "maximum"),
        ({"name": "1", "age": 1}, "name"),
        ({"name": "a\n", "age": 1}, "name"),
        ({"name": "a", "age": 1, "size": "1"}, r"\$\.size"),
        ({"name": "a", "age": 1, "size": 10**400}, r"\$\.size"),
        ({"name": "x" * 5000, "age": 1}, r" \.\.\. "),
        ({"name": "a", "age": 1, "size": json.loads("[" * 950 + "]" * 950)}, "damaged"),
    ],
)
def test_what_does_not(value, said):
    with pytest.raises(FileError, match=said) as caught:
        schema.check(value, PERSON, *WHERE)
    assert len(str(caught.value)) < 600


def test_alternatives_end_at_the_first_fault():
    """Each of a million entries would be a fault, of three alternatives."""
    inner = {"anyOf": [schema.TEXT, schema.FLAG]}
    several = {"anyOf": [schema.list_of(inner), schema.TEXT, schema.list_of(schema.TEXT)]}
    seen = []

    class Watched(list):
        def __iter__(self):
            for item in super().__iter__():
                seen.append(item)
                yield item

    with pytest.raises(FileError, match="read a file"):
        schema.check(Watched([0] * 1_000_000), several, *WHERE)
    assert len(seen) < 10


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"version": 3}, "a newer version of qnb wrote it: format 3, and this one reads 2.*pip install -U qnb"),
        ({"version": 1}, "an older version of qnb wrote it: format 1, and this one reads 2.*save"),
        ({"version": 0}, "no version"),
        ({"version": True}, "no version"),
        ({"version": "1"}, "no version"),
        ({}, "no version"),
        ([], "no version"),
        (None, "no version"),
    ],
)
def test_versions(header, said):
    with pytest.raises(FileError, match=said):
        schema.check_version(header, "simulation", 2, "read a file")
    schema.check_version({"version": 2}, "simulation", 2, "read a file")
