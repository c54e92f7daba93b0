"""Charts: a DataFrame in, a Plotly figure out. They know column names only, and read on light and dark pages.

A chart is a function in a file of its name.
"""

from qnb.registry import modules as _modules

for _file in _modules(__name__):
    _name = _file.__name__.rpartition(".")[2]
    if hasattr(_file, _name):
        globals()[_name] = getattr(_file, _name)

__all__ = sorted(_name for _name, _value in globals().items() if callable(_value) and not _name.startswith("_"))


def __getattr__(name: str):
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
