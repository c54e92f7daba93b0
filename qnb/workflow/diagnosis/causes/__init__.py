"""The causes, one per file; a new one is found by being there."""

from qnb.registry import modules as _modules

_modules(__name__)
