"""What each ATen op means to a quantizer: one row per op, no target in sight.

Kinds:
    weighted  has a constant weight that is quantized (convolution, linear, embedding, LSTM ...)
    norm      normalizes; its weight is a vector
    compute   makes new values, so its output is quantized
    pass      only moves values: the output has its input's encoding
    concat    joins tensors that must share one encoding
    resize    interpolates: new values, on some targets with the input's encoding
    create    makes a tensor from nothing (zeros, arange): constant
An op that is not in the table is quantized at its output and listed by ``Workflow.check()``.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass, replace

from torch import fx


@dataclass(frozen=True)
class Op:
    """How one op is quantized.

    Args:
        kind: see the module's docstring.
        weight, bias: argument positions of the constant weight and bias.
        axis: the weight's output-feature axis (negative: from the end).
        block_axis: the axis that is summed over, which blocks divide.
        family: of products: "convolution", "transposed convolution", "linear", "matmul" or "recurrent".
        spatial: how many spatial axes a convolution has.
        data: argument position of what the weight multiplies.
        fresh: the output is always a new tensor that nothing else sees, so it may be quantized in place.
    """

    kind: str
    weight: int | None = None
    bias: int | None = None
    axis: int | None = None
    block_axis: int | None = None
    fresh: bool = False
    family: str = ""
    spatial: int = 0
    data: int = 0


def _rows() -> dict[str, Op]:
    linear = Op("weighted", weight=1, bias=2, axis=0, block_axis=1, fresh=True, family="linear")
    matmul = Op("weighted", weight=1, axis=-1, block_axis=-2, fresh=True, family="matmul")
    rows = {f"conv{n}d": replace(linear, family="convolution", spatial=n) for n in (1, 2, 3)}
    for n in (1, 2, 3):
        transposed = replace(linear, axis=1, block_axis=0, family="transposed convolution", spatial=n)
        rows[f"conv_transpose{n}d"] = transposed
    rows |= dict.fromkeys(("matmul", "mm", "bmm"), matmul)
    rows |= dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), Op("weighted", weight=2, family="recurrent"))
    rows |= {
        "linear": linear,
        "addmm": replace(matmul, weight=2, bias=0, data=1),
        "baddbmm": Op("compute", fresh=True, family="matmul", data=1),
        "embedding": Op("weighted", weight=0),
        "prelu": Op("norm", weight=1, fresh=True),
        "layer_norm": Op("norm", weight=2, bias=3, fresh=True),
        "rms_norm": Op("norm", weight=2, fresh=True),
        "group_norm": Op("norm", weight=2, bias=3, fresh=True),
        "batch_norm": Op("norm", weight=1, bias=2, fresh=True),
        "instance_norm": Op("norm", weight=1, bias=2, fresh=True),
        "upsample_bilinear2d": Op("resize", fresh=True),
        "upsample_linear1d": Op("resize", fresh=True),
        "upsample_bicubic2d": Op("resize", fresh=True),
        "upsample_trilinear3d": Op("resize", fresh=True),
        "_upsample_bilinear2d_aa": Op("resize"),
        "_upsample_bicubic2d_aa": Op("resize"),
        "grid_sampler": Op("compute"),
    }
    rows |= dict.fromkeys(_COMPUTE_FRESH.split(), Op("compute", fresh=True))
    rows |= dict.fromkeys(_COMPUTE.split(), Op("compute"))
    rows |= dict.fromkeys(_PASS.split(), Op("pass"))
    rows |= dict.fromkeys(("cat", "concat", "concatenate", "stack", "hstack", "vstack"), Op("concat"))
    rows |= dict.fromkeys(_CREATE.split(), Op("create"))
    return rows


_COMPUTE_FRESH = """
    add sub rsub mul div relu relu6 hardtanh clamp clamp_min clamp_max sigmoid tanh gelu softmax
    log_softmax hardswish hardsigmoid leaky_relu elu selu celu softplus mish exp log log1p expm1 sqrt rsqrt
    pow square reciprocal sin cos erf neg abs mean sum avg_pool1d avg_pool2d avg_pool3d
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d maximum minimum addcmul addcdiv logsigmoid
"""
_COMPUTE = """
    where masked_fill var std var_mean cumsum cumprod norm linalg_vector_norm prod dot einsum outer logsumexp
    scatter scatter_add index_put index_add softsign tanhshrink hardshrink softshrink threshold glu silu
    scaled_dot_product_attention local_response_norm bilinear cdist cross lerp atan atan2 fmod remainder
    remainder tan sinh cosh asin acos log2 log10 exp2 floor ceil round trunc frac sign dist pairwise_distance
    normalize cosine_similarity addmv mv addbmm true_divide floor_divide slice_scatter select_scatter log_sigmoid
"""
_PASS = """
    view reshape _unsafe_view flatten unflatten transpose permute t numpy_T mT adjoint squeeze unsqueeze slice
    select split split_with_sizes chunk tensor_split unsafe_split unsafe_chunk unbind expand expand_as repeat tile
    getitem gather index index_select take take_along_dim pad constant_pad_nd reflection_pad1d reflection_pad2d
    reflection_pad3d replication_pad1d replication_pad2d replication_pad3d max_pool1d max_pool2d max_pool3d
    max_pool2d_with_indices max_pool3d_with_indices max_pool1d_with_indices adaptive_max_pool1d
    adaptive_max_pool2d adaptive_max_pool3d amax amin max min aminmax topk sort msort flip fliplr flipud roll
    rot90 clone contiguous pixel_shuffle pixel_unshuffle channel_shuffle unfold im2col as_strided detach alias to
    _to_copy type_as dropout feature_dropout alpha_dropout movedim moveaxis swapaxes narrow view_as reshape_as
    upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d _upsample_nearest_exact2d
    repeat_interleave diagonal diag tril triu masked_select lift_fresh lift_fresh_copy space_to_depth
    native_dropout native_channel_shuffle broadcast_to ravel swapdims
"""
_CREATE = """
    zeros ones full empty arange linspace zeros_like ones_like full_like empty_like new_zeros new_ones new_full
    new_empty scalar_tensor eye tensor rand randn rand_like randn_like one_hot
"""

OPS: dict[str, Op] = _rows()
UNKNOWN = Op("compute")
_SAME = {"_softmax": "softmax", "_safe_softmax": "softmax"}


def name(node: fx.Node) -> str:
    """The op's short name: ``"conv2d"`` for ``aten.conv2d.default``, ``"getitem"`` for ``operator.getitem``."""
    target = node.target
    schema = getattr(target, "_schema", None)
    if schema is not None:
        op = schema.name.split("::")[-1]
        return _SAME.get(op, op)
    return "getitem" if target is operator.getitem else getattr(target, "__name__", str(target))


def of(node: fx.Node) -> Op:
    """The row for a call_function node; `UNKNOWN` where the table has none.

    ``max`` and ``min`` of two tensors make a choice per element, so they count as new values.
    """
    op = name(node)
    if op in ("max", "min") and len(node.args) > 1 and isinstance(node.args[1], fx.Node):
        return OPS["maximum"]
    return OPS.get(op, UNKNOWN)


def family(name: str) -> tuple[str, ...]:
    """The ops of one family.

    >>> family("convolution")
    ('conv1d', 'conv2d', 'conv3d')
    """
    return tuple(op for op, row in OPS.items() if row.family == name)


def clip_ends(node: fx.Node) -> tuple[float, float] | None:
    """Lowest and highest value that an activation lets through, where that is all it does."""
    op = name(node).rstrip("_")
    if op == "relu":
        return 0.0, math.inf
    if op == "relu6":
        return 0.0, 6.0
    if op not in ("hardtanh", "clamp", "clamp_min"):
        return None
    names, default = (("min_val", "max_val"), 1.0) if op == "hardtanh" else (("min", "max"), math.inf)
    given = [node.args[i + 1] if len(node.args) > i + 1 else node.kwargs.get(n) for i, n in enumerate(names)]
    low, high = (d if g is None else g for g, d in zip(given, (-default, default), strict=True))
    return None if isinstance(low, fx.Node) or isinstance(high, fx.Node) else (float(low), float(high))


def groups(node: fx.Node) -> int:
    """Of a convolution, transposed or not: their seventh argument."""
    return node.args[6] if len(node.args) > 6 else node.kwargs.get("groups", 1)


def numbers(node: fx.Node, position: int, default: int) -> list[int]:
    """An argument that is one number or one for each dimension: a convolution's stride (3), padding, dilation."""
    found = node.args[position] if len(node.args) > position else default
    return list(found) if isinstance(found, list | tuple) else [found]


def maker(node: fx.Node) -> fx.Node:
    """The op that made a value which was only moved, or quantized, since."""
    while node.op == "call_module" or (
        node.op == "call_function" and of(node).kind == "pass" and isinstance(node.args[0], fx.Node)
    ):
        node = node.args[0]
    return node


def padded_with(node: fx.Node) -> float:
    """The number that a padding puts around its input; 0 for all other ops, and where it is not finite."""
    if name(node) not in ("pad", "constant_pad_nd"):
        return 0.0
    position = 3 if name(node) == "pad" else 2
    value = node.args[position] if len(node.args) > position else node.kwargs.get("value")
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else 0.0


def is_known(node: fx.Node) -> bool:
    return name(node) in OPS
