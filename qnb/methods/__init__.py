"""Recovery methods, one per file. Each changes the sim it is given and returns a `Result`.

A method is a function that `qnb.methods.method.method` registers, here or in another package.
"""

from qnb.methods.method import METHODS as METHODS
from qnb.methods.method import STAGES as STAGES
from qnb.methods.method import Method as Method
from qnb.methods.method import auto_order as auto_order
from qnb.methods.method import check_order as check_order
from qnb.methods.reporting.result import Result as Result
from qnb.registry import modules as _modules

_modules(__name__)
globals().update({_name: _row.apply for _name, _row in METHODS.rows.items()})


def __getattr__(name: str):
    """Those of other packages."""
    if name.startswith("_") or name not in METHODS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return METHODS[name].apply
