"""Edits of files as a stranger might make them: of JSON, of bytes, of a zip's members. A seed gives the same again."""

from __future__ import annotations

import copy
import io
import json
import random
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

MARK = "QNB_FUZZ_RAN"
"""An environment variable: whoever executes one of `CODE` sets it."""
_RUN = f"__import__('os').environ.__setitem__('{MARK}', '1')"
_UNDOTTED = "exec(bytes([" + ",".join(str(byte) for byte in _RUN.encode()) + "]))"
CODE = {
    "expression": _RUN,
    "default": f"x={_RUN}",
    "two inputs": f"x, y={_RUN}",
    "annotation": f"x: {_RUN}",
    "star": f"*[{_RUN}], y",
    "statement": f"x; {_RUN}",
    "lines": f"x):\n    {_RUN}\ndef other(y",
    "comment": f"x # COUNTER: 1\n{_RUN}",
    "quote": f'x", {_UNDOTTED}) or getattr(self, "x',
    "single": f"x' + {_RUN} + '",
    "format": "{" + _RUN + "}",
    "dotted": f"x.{_UNDOTTED}.y",
    "class": "__class__.__init__",
    "module": "os.system",
    "markup": "<img src=x onerror=window.hacked=1>",
    "link": "<a href='javascript:window.hacked=1'>x</a>",
}
"""Code in the forms in which text gets into source or a page."""
_OTHER = (None, True, False, 0, 1, -1, 0.5, "", "x", "nan", [], {}, [[]], {"node": "x"}, [None], "\x00", "\ud800")
_NUMBERS = (
    0,
    -1,
    2**31,
    2**53 + 1,
    2**63,
    -(2**63),
    2**64,
    10**30,
    10**400,
    1e308,
    -1e308,
    5e-324,
    0.1,
    -0.0,
    1.0,
    float("inf"),
    float("nan"),
    3.999999,
    65536,
    4294967295,
)
_DEEP = "nested lists: "
Path = tuple


def paths(value: Any, path: Path = ()) -> Iterator[Path]:
    """Where something stands, from the top down."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in inner:
        yield from paths(child, (*path, key))


def at(value: Any, path: Path) -> Any:
    for key in path:
        value = value[key]
    return value


def put(value: Any, path: Path, new: Any) -> Any:
    """A copy with something else at ``path``."""
    if not path:
        return new
    value = copy.deepcopy(value)
    at(value, path[:-1])[path[-1]] = new
    return value


def code_edits(value: Any, forms: Sequence[str] = ("default",)) -> Iterator[tuple[str, Any]]:
    """Code in place of every text, and as every key; of several forms, one at each place in turn."""
    for index, path in enumerate(list(paths(value))):
        code = CODE[forms[index % len(forms)]]
        if isinstance(at(value, path), str):
            yield "code", put(value, path, code)
        if path and isinstance(path[-1], str):
            yield "code as key", _renamed(value, path, code)


def _renamed(value: Any, path: Path, name: str) -> Any:
    value = copy.deepcopy(value)
    owner = at(value, path[:-1])
    owner[name] = owner.pop(path[-1])
    return value


def edit(value: Any, chance: random.Random) -> tuple[str, Any]:
    """One edit of JSON: (its kind, the result)."""
    path = chance.choice(list(paths(value)))
    kind = chance.choice(list(_EDITS))
    return kind, _EDITS[kind](value, path, chance)


def _replaced(value, path, chance):
    return put(value, path, copy.deepcopy(chance.choice(_OTHER)))


def _number(value, path, chance):
    return put(value, path, chance.choice(_NUMBERS))


def _moved(value, path, chance):
    """Something from elsewhere in the file."""
    return put(value, path, copy.deepcopy(at(value, chance.choice(list(paths(value))))))


def _deleted(value, path, chance):
    if not path:
        return {}
    value = copy.deepcopy(value)
    del at(value, path[:-1])[path[-1]]
    return value


def _doubled(value, path, chance):
    value, old = copy.deepcopy(value), copy.deepcopy(at(value, path))
    owner = at(value, path[:-1]) if path else [value]
    if isinstance(owner, list):
        owner.insert(chance.randrange(len(owner) + 1), old)
    else:
        owner[f"{path[-1]}{chance.choice(['', '2', ' '])}"] = [old, old]
    return value


def _inserted(value, path, chance):
    value = copy.deepcopy(value)
    owner, new = at(value, path), copy.deepcopy(chance.choice(_OTHER))
    if isinstance(owner, list):
        owner.insert(chance.randrange(len(owner) + 1), new)
        return value
    if isinstance(owner, dict):
        owner[chance.choice(["x", "__class__", "args", "version", "node", ""])] = new
        return value
    return put(value, path, [owner, new])


def _shuffled(value, path, chance):
    old = at(value, path)
    if isinstance(old, list):
        return put(value, path, chance.sample(old, len(old)))
    return put(value, path, dict(chance.sample(list(old.items()), len(old)))) if isinstance(old, dict) else value


def _long(value, path, chance):
    return put(value, path, chance.choice(["x" * 200_000, "x." * 50_000, [0] * 100_000, "\n" * 70_000]))


def _deep(value, path, chance):
    """Stands for nested lists, which `text` writes: Python would not copy them."""
    return put(value, path, f"{_DEEP}{chance.choice([12, 40, 400, 900, 960, 100_000])}")


def _code(value, path, chance):
    return put(value, path, chance.choice(list(CODE.values())))


_EDITS: dict[str, Callable] = {
    "replace": _replaced,
    "number": _number,
    "move": _moved,
    "delete": _deleted,
    "double": _doubled,
    "insert": _inserted,
    "shuffle": _shuffled,
    "long": _long,
    "deep": _deep,
    "other code": _code,
}


def text(value: Any) -> str:
    """JSON as Python writes it, infinity and NaN included."""
    return re.sub(f'"{_DEEP}(\\d+)"', lambda found: _nested(int(found[1])), json.dumps(value))


def _nested(depth: int) -> str:
    opened, closed = ('{"children": [', "]}") if depth % 3 else ("[", "]")
    return opened * depth + "1" + closed * depth


def edit_bytes(data: bytes, chance: random.Random) -> tuple[str, bytes]:
    """One edit of bytes: (its kind, the result)."""
    kind = chance.choice(["flip", "cut", "insert", "remove", "zero", "repeat", "length"])
    start = chance.randrange(min(len(data), chance.choice([64, 4096, len(data)])))
    end = min(len(data), start + chance.choice([1, 2, 8, 64, 4096]))
    if kind == "flip":
        return kind, data[:start] + bytes([data[start] ^ 1 << chance.randrange(8)]) + data[start + 1 :]
    if kind == "cut":
        return kind, data[:start]
    if kind == "insert":
        return kind, data[:start] + chance.randbytes(end - start) + data[start:]
    if kind == "remove":
        return kind, data[:start] + data[end:]
    if kind == "zero":
        return kind, data[:start] + bytes(end - start) + data[end:]
    if kind == "repeat":
        return kind, data[:end] + data[start:]
    return kind, chance.choice([0, 1, 7, 2**31, 2**63 - 1, 2**64 - 1]).to_bytes(8, "little") + data[8:]


def edit_zip(members: dict[str, bytes], chance: random.Random) -> tuple[str, bytes]:
    """One edit of a zip's members: (its kind, the result)."""
    kind = chance.choice(["rename", "drop", "twice", "swap", "empty", "add", "not deflated"] * 4 + ["bomb"])
    found, name = list(members.items()), chance.choice(list(members))
    if kind in ("rename", "drop"):
        found = [(n, d) for n, d in found if n != name]
    if kind == "rename":
        found.append((chance.choice([f"../{name}", f"/{name}", name.upper(), "x" * 60_000, "\x00", ""]), members[name]))
    if kind == "twice":
        found.append((name, chance.choice([members[name], b"", b"{}", chance.choice(list(members.values()))])))
    if kind == "swap":
        contents = chance.sample(list(members.values()), len(members))
        found = list(zip(members, contents, strict=True))
    if kind in ("bomb", "empty"):
        found = [(n, (b" " * 300_000_000 if kind == "bomb" else b"") if n == name else d) for n, d in found]
    if kind == "add":
        found.append((chance.choice(["x", "sims/999.safetensors", "__main__.py", "../../x"]), b"x"))
    return kind, zipped(found, zipfile.ZIP_STORED if kind == "not deflated" else zipfile.ZIP_DEFLATED)


def zipped(members: list[tuple[str, bytes]], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip; a name may come twice."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name) if name else zipfile.ZipInfo("."), data, compression)
    return buffer.getvalue()


def unzipped(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}
