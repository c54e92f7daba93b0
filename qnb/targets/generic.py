"""``generic``: AIMET's default per-channel placement, and ONNX Runtime's CPU kernels.

Source: AIMET 2's default per-channel configuration; depthwise convolutions stay out of its supergroups,
and it does not simulate biases.
"""

from qnb.targets.target import (
    CONV,
    CONV_TRANSPOSE,
    DENSE,
    TARGETS,
    Supergroup,
    Target,
    variant,
)

ALL_PRECISIONS = ("fp32", "fp16", "w16a16", "w8a16", "w8a8", "w4a16", "w4a8")

GENERIC = TARGETS.add(
    "generic",
    Target(
        name="generic",
        description="AIMET's default per-channel placement, for no device in particular",
        supergroups=(
            Supergroup((*CONV, *CONV_TRANSPOSE, *DENSE, "add"), ("relu",)),
            Supergroup(CONV, ("hardtanh", "clamp", "relu6")),
        ),
        fuse_depthwise=False,
        simulate_bias=False,
        precisions=ALL_PRECISIONS,
        accepts_any_precision=True,
    ),
)

ONNXRUNTIME_CPU = variant(
    GENERIC,
    "onnxruntime-cpu",
    description="ONNX Runtime's CPU kernels for QDQ files",
    fuse_depthwise=True,
    simulate_bias=True,
    notes={
        "fp32": "",
        "fp16": "float32 kernels, as most have no float16 form",
        "w8a8": "integer kernels",
        "*": "floats between integers: no integer kernels",
    },
    verified_by="ONNX Runtime",
)
