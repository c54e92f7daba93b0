"""Qualcomm's HTP, by Hexagon architecture.

Source: AIMET's backend-aware configurations for HTP and Qualcomm's public op-definition tables. Bounded activations
have fixed ranges, before v73 too, where AIMET leaves them free: the 16-bit kernels of sigmoid, tanh and hardsigmoid
give out codes of these ranges whatever the file says (measured on v68, v69 and v75: 12 to 19 dB with other ranges). A
hardsigmoid of 16 bits that a concatenation reads is not converted where the concatenation's zero point is 0 (measured
on v75: 2 to 10 dB). From v73 on, 16-bit activations meet 16-bit weights. Those weights are multiplied as two signed
bytes: a code above 127 * 256 + 127 saturates (measured on v75: one such weight costs its channel 20 dB). Four-bit
weights at 16-bit activations lose the low eight bits of the sum (see docs/pairs.md). Transposed convolutions of
several groups take one scale per tensor (measured on v75: with scales per channel QNN refuses them or, where each
channel is a group, computes other values). A softmax whose 16-bit input spans less than 0.17 gives the largest score
of each row half of its due (measured on v68 to v81). Convolutions, fully connected layers and layer norms between 8
and 16 bits are refused; other ops compute in float16 there (measured on v75). Which SoCs have no float16 is what QNN
2.51 says when asked to run a convolution of floats.
"""

from qnb.targets.generic import GENERIC
from qnb.targets.limits import Limit
from qnb.targets.target import CONV, CONV_TRANSPOSE, DENSE, Supergroup, variant

BEFORE_V73 = ("fp32", "fp16", "w8a16", "w8a8", "w4a16", "w4a8")
FROM_V73 = ("fp32", "fp16", "w16a16", "w8a16", "w8a8", "w4a16", "w4a8")
HALF = dict.fromkeys(("fp32", "fp16"), "float16 arithmetic")
HALF_OF_SOME_V68 = dict.fromkeys(HALF, "float16 arithmetic; not on Snapdragon 778G, 780G, 8cx Gen 3 and QCS6490")
HALF_OF_SOME_V73 = dict.fromkeys(HALF, "float16 arithmetic; not on Snapdragon 7 Gen 3, 7s, 7+, 7 Gen 4, 8s")

WIDE = {"weights": (16,), "refused": False, "remedy": "use 8-bit weights there (W8A16)"}
LIMITS = (
    Limit(("erf",), "has no kernel for {op}", "use torch.nn.functional.gelu where it is part of a GELU"),
    Limit(
        ("log", "log2", "log10", "log1p"),
        "computes {op} wrongly",
        "use 8-bit activations there, or log_softmax where the logarithm is of a softmax",
        activations=(16,),
    ),
    Limit(
        ("softplus",),
        "computes {op} to 40 dB only",
        "8-bit activations are as good there; a ReLU is exact",
        refused=False,
        activations=(16,),
    ),
    Limit(
        CONV_TRANSPOSE,
        "does not support grouped transposed convolutions",
        "use 8-bit weights there",
        weights=(4,),
        where="grouped",
    ),
    Limit(
        CONV_TRANSPOSE,
        "does not support dilated transposed convolutions",
        "use nn.Upsample and a convolution",
        where="dilated",
    ),
    Limit(CONV, "computes dilated convolutions to 40 dB only", **WIDE, where="dilated"),
    Limit((*CONV, *CONV_TRANSPOSE), "computes kernels longer than 7 to 40 dB only", **WIDE, where="long"),
)
"""Measured on v75, see docs/pairs.md."""

HTP_V68 = variant(
    GENERIC,
    "htp-v68",
    description="Snapdragon 8 / 888 (Hexagon v68)",
    supergroups=(
        Supergroup((*CONV, *CONV_TRANSPOSE, *DENSE, "add"), ("relu",)),
        Supergroup((*CONV, *CONV_TRANSPOSE, *DENSE), ("hardtanh", "clamp", "relu6")),
    ),
    fuse_depthwise=True,
    fixed_ranges={
        "sigmoid": (0.0, 1.0),
        "softmax": (0.0, 1.0),
        "hardsigmoid": (0.0, 1.0),
        "tanh": (-1.0, 1.0),
        "sin": (-1.0, 1.0),
        "cos": (-1.0, 1.0),
    },
    resize_shares_encoding=True,
    tied_concat=False,
    unconverted_at_16=("hardsigmoid",),
    written_out=("batch_norm", "group_norm", "mish", "lstm", "gru"),
    limits=LIMITS,
    grouped_conv_transpose_granularity="tensor",
    min_softmax_input_range_16bit=0.2,
    simulate_bias=True,
    mask_encoding=True,
    one_activation_width=True,
    precisions=BEFORE_V73,
    accepts_any_precision=False,
    notes=HALF_OF_SOME_V68,
    verified_by="HTP emulator",
    htp_arch=68,
)
HTP_V69 = variant(HTP_V68, "htp-v69", description="Snapdragon 8 Gen 1 (Hexagon v69)", notes=HALF, htp_arch=69)
HTP_V73 = variant(
    HTP_V69,
    "htp-v73",
    description="Snapdragon 8 Gen 2 (Hexagon v73)",
    norm_weights="activations",
    embedding_weights="activations",
    symmetric_matmul_rhs_16bit=True,
    max_weight_code_16bit=127 * 256 + 127,
    precisions=FROM_V73,
    notes=HALF_OF_SOME_V73,
    htp_arch=73,
)
HTP_V75 = variant(HTP_V73, "htp-v75", description="Snapdragon 8 Gen 3 (Hexagon v75)", notes=HALF, htp_arch=75)
HTP_V79 = variant(HTP_V75, "htp-v79", description="Snapdragon 8 Elite (Hexagon v79)", htp_arch=79)
HTP_V81 = variant(HTP_V75, "htp-v81", description="Snapdragon 8 Elite Gen 5 (Hexagon v81)", htp_arch=81)
