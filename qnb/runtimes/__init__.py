"""Runtimes: an ONNX file run by the programs that run it on a target, behind one interface.

A runtime is a class that `register` makes known, here or in another package.
"""

from qnb.registry import modules as _modules
from qnb.runtimes import soc as soc
from qnb.runtimes.facts import RUNTIMES as RUNTIMES
from qnb.runtimes.facts import register as register
from qnb.runtimes.fidelity import fidelity as fidelity
from qnb.runtimes.latency import Latency as Latency
from qnb.runtimes.latency import interleaved as interleaved
from qnb.runtimes.model import RuntimeModel as RuntimeModel
from qnb.runtimes.onnx_file import Tensor as Tensor
from qnb.runtimes.qnn_library import qnn_available as qnn_available
from qnb.runtimes.runtime import PLACEMENT as PLACEMENT
from qnb.runtimes.runtime import Runtime as Runtime
from qnb.runtimes.soc import socs as socs

_modules(__name__)
globals().update({_row.__name__: _row for _row in RUNTIMES.rows.values()})


def __getattr__(name: str):
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
