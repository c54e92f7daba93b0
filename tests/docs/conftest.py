import importlib
import pkgutil
from functools import cache

import pytest

import qnb
from qnb.graph.ops import OPS
from qnb.registry import Registry


@cache
def tables() -> list[dict]:
    """The rows of every registry of qnb, wherever it stands, and the ops."""
    names = [m.name for m in pkgutil.walk_packages(qnb.__path__, "qnb.") if not m.name.endswith("__main__")]
    values = (value for name in names for value in vars(importlib.import_module(name)).values())
    found = {id(value): value.rows for value in values if isinstance(value, Registry)}
    return [*found.values(), OPS]


@pytest.fixture(autouse=True)
def registries():
    """Pages add to qnb's registries; what they added is gone after the test."""
    before = [dict(table) for table in tables()]
    yield
    for table, rows in zip(tables(), before, strict=True):
        table.clear()
        table.update(rows)
