"""Which functions a graph may call: ATen ops that compute tensors from tensors, and arithmetic on sizes.

A saved graph names its functions, and the file may come from a stranger. An op is let through by what torch's own
schema says of it: it writes to nothing, takes tensors, numbers, dtypes, devices and names of modes, and gives tensors.
That leaves out whatever touches files, storages, streams, generators or the process. Of those ops, these stay out too:

* ``from_file``, which reads a file, and ``pin_memory``;
* gradients, sparse and nested tensors, and the ops of one backend (cudnn_, mkldnn_, fbgemm_ ...): no captured model
  calls them by name, and some trust their arguments where the ops of torch's own interface check them;
* names with a leading underscore, but for those that a capture may hold.
"""

from __future__ import annotations

import keyword
import math
import operator
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import fx
from torch._ops import OpOverload

SIZES: dict[str, tuple[Callable, int]] = (
    {
        f"operator.{f.__name__}": (f, 2)
        for f in (
            operator.getitem,
            operator.add,
            operator.sub,
            operator.mul,
            operator.floordiv,
            operator.truediv,
            operator.mod,
            operator.pow,
            operator.eq,
            operator.ne,
            operator.lt,
            operator.le,
            operator.gt,
            operator.ge,
            operator.and_,
            operator.or_,
        )
    }
    | {"operator.neg": (operator.neg, 1)}
    | {f"math.{f.__name__}": (f, 1) for f in (math.trunc, math.ceil, math.floor)}
    | {
        f"torch.{name}": (getattr(torch, name), count)
        for name, count in (("sym_max", 2), ("sym_min", 2), ("sym_not", 1), ("sym_float", 1), ("sym_int", 1))
    }
)
"""Name -> function and the number of its arguments: nodes and numbers."""
_NAMES = {function: name for name, (function, _) in SIZES.items()}
_TAKEN = {
    "Tensor",
    "int",
    "bool",
    "float",
    "number",
    "str",
    "ScalarType",
    "Layout",
    "Device",
    "MemoryFormat",
    "Generator",
}
_TELL = ("sym_size", "sym_stride", "sym_numel", "sym_storage_offset", "item", "_local_scalar_dense")
"""Ops that give a number; all others give tensors."""
_OUT = re.compile(
    "from_file|pin_memory|is_pinned|grad|data|set|resize|segment_reduce|to_mkldnn|hspmm|smm|sspaddmm"
    "|.*(backward|sparse|nested|overrideable).*|(cudnn|miopen|mkldnn|fbgemm|mps|thnn|xnnpack|quantized|q|resize|set)_.*"
)
_PRIVATE = set(
    """
    __and__ __or__ __xor__ __lshift__ __rshift__ _adaptive_avg_pool2d _adaptive_avg_pool3d _aminmax
    _batch_norm_no_update _cdist_forward _conj _conj_physical _convolution _convolution_mode _embedding_bag
    _euclidean_dist _fft_c2c _fft_c2r _fft_r2c _fused_rms_norm _linalg_det _linalg_eigh _linalg_slogdet
    _linalg_solve_ex _linalg_svd _local_scalar_dense _log_softmax _logcumsumexp _masked_softmax
    _native_batch_norm_legit _native_batch_norm_legit_no_training _pad_circular _pad_enum _pdist_forward _prelu_kernel
    _safe_softmax _shape_as_tensor _softmax _stack _to_copy _trilinear _unsafe_index _unsafe_index_put
    _unsafe_view _upsample_bicubic2d_aa _upsample_bilinear2d_aa _upsample_nearest_exact1d _upsample_nearest_exact2d
    _upsample_nearest_exact3d _weight_norm _weight_norm_interface
""".split()
)


def name_of(target: Any) -> str | None:
    """``"aten.conv2d.default"``, ``"operator.add"``; None for what a file may not name."""
    if isinstance(target, OpOverload):
        return str(target) if allowed(target) else None
    return _NAMES.get(target) if target.__hash__ else None


def function(name: str) -> Callable | None:
    """The function of that name; None where a file may not name it, or this torch does not have it."""
    if name in SIZES:
        return SIZES[name][0]
    namespace, _, rest = name.partition(".")
    op, _, overload = rest.partition(".")
    if namespace != "aten" or not (op.isidentifier() and overload.isidentifier()):
        return None
    found = getattr(getattr(torch.ops.aten, op, None), overload, None)
    return found if isinstance(found, OpOverload) and allowed(found) else None


@cache
def allowed(op: OpOverload) -> bool:
    """Whether the op only computes: see the module's docstring."""
    schema = op._schema
    namespace, _, name = schema.name.partition("::")
    if namespace != "aten" or schema.is_mutable or _OUT.fullmatch(name):
        return False
    if name.startswith("_") and name not in _PRIVATE:
        return False
    gives = {_bare(r.real_type) for r in schema.returns}
    tells = gives <= {"int", "float", "bool", "number"} and name in _TELL
    return bool(gives) and (gives == {"Tensor"} or tells) and {_bare(a.real_type) for a in schema.arguments} <= _TAKEN


def _bare(kind) -> str:
    """``Tensor`` for ``Optional[List[Tensor]]``."""
    return re.sub(r"^(?:(?:Optional|List)\[)*|\]*$", "", str(kind))


def fault(target: Callable, args: tuple, kwargs: dict[str, Any]) -> str | None:
    """What is wrong with a call of an allowed function, in words; None where nothing is."""
    if not isinstance(target, OpOverload):
        count, indexed = SIZES[_NAMES[target]][1], target is not operator.getitem or isinstance(args[0], fx.Node)
        plain = all(isinstance(a, fx.Node | int | float) for a in args)
        return None if len(args) == count and not kwargs and plain and indexed else "arguments that it does not take"
    arguments = target._schema.arguments
    places = [a for a in arguments if not a.kwarg_only]
    known = {a.name: a for a in arguments[len(args) :]} if len(args) <= len(places) else {}
    if len(args) > len(places) or not kwargs.keys() <= known.keys() or any(map(keyword.iskeyword, kwargs)):
        return "arguments that it does not take"
    given = [*zip(places, args, strict=False), *((known[k], v) for k, v in kwargs.items())]
    wrong = [a.name for a, value in given if not _fits(str(a.real_type), value) or (a.name == "pin_memory" and value)]
    return f"an argument {wrong[0]!r} that it does not take" if wrong else None


_FITS: dict[str, tuple] = {
    "Tensor": (fx.Node, int, float),
    "int": (fx.Node, int),
    "bool": (fx.Node, int),
    "float": (fx.Node, int, float),
    "number": (fx.Node, int, float),
    "str": (str,),
    "ScalarType": (torch.dtype,),
    "Layout": (torch.layout,),
    "Device": (torch.device,),
    "MemoryFormat": (torch.memory_format,),
}
"""By type in torch's schema: numbers stand for tensors, and nodes for numbers."""


def _fits(kind: str, value: Any) -> bool:
    """Whether a value is of a type such as ``Optional[List[int]]``; one value may stand for a list of equal ones."""
    if kind.startswith("Optional["):
        return value is None or _fits(kind[9:-1], value)
    if kind.startswith("List["):
        kind = kind[5:-1]
        return all(_fits(kind, v) for v in value) if isinstance(value, list | tuple) else _fits(kind, value)
    return isinstance(value, _FITS.get(kind, ()))
