"""Runtimes: an ONNX file run by the programs that run it on a target, behind one interface."""

from qnb.runtimes import soc as soc
from qnb.runtimes.facts import RUNTIMES as RUNTIMES
from qnb.runtimes.facts import register as register
from qnb.runtimes.fidelity import fidelity as fidelity
from qnb.runtimes.latency import Latency as Latency
from qnb.runtimes.latency import interleaved as interleaved
from qnb.runtimes.model import RuntimeModel as RuntimeModel
from qnb.runtimes.onnx_file import Tensor as Tensor
from qnb.runtimes.onnxruntime import OnnxRuntime as OnnxRuntime
from qnb.runtimes.qnn import QnnHtp as QnnHtp
from qnb.runtimes.qnn_library import qnn_available as qnn_available
from qnb.runtimes.runtime import PLACEMENT as PLACEMENT
from qnb.runtimes.runtime import Runtime as Runtime
from qnb.runtimes.soc import socs as socs
