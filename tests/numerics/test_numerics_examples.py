"""The examples in the docstrings run as they stand."""

import doctest
import importlib
import pkgutil

import pytest

import qnb.numerics

MODULES = [module.name for module in pkgutil.iter_modules(qnb.numerics.__path__, "qnb.numerics.")]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name):
    # The package re-exports a function of the same name as one of its modules.
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples():
    finder = doctest.DocTestFinder()
    found = [test for name in MODULES for test in finder.find(importlib.import_module(name)) if test.examples]
    assert len(found) >= 9
