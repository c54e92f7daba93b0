"""Names of DataFrame columns, one place; units stand in the name."""

LAYER, MODULE, OP, KIND = "layer", "module", "op", "kind"
SQNR_DB, OWN_SQNR_DB = "sqnr_db", "own_sqnr_db"

COMPARISON = (
    LAYER, MODULE, OP, SQNR_DB, OWN_SQNR_DB, "mse", "cosine", "max_abs_error",
    "fp32_min", "fp32_max", "saturated_fraction", "numel",
)  # fmt: skip
"""What `qnb.compare_layers` returns, one row per layer in graph order."""

ENCODINGS = (
    "tensor", LAYER, KIND, "bits", "symmetric", "axis", "block_size", "min", "max", "scale", "zero_point",
)  # fmt: skip
"""What `QuantSim.encodings()` returns, one row per quantizer."""

LAYERS = (LAYER, MODULE, OP, "weight_bits", "activation_bits", "enabled", "weight_numel", "output_shape", "source")
"""What `QuantSim.layers()` returns, one row per layer in graph order."""

COST = (LAYER, OP, "macs", "bops", "weight_bytes", "activation_bytes")
"""What `qnb.measures.cost` returns, one row per layer."""

SUMMARY = (
    "run", "precision", "metric", "low", "high", "n", "drop", "verdict",
    "worst_layer", "worst_own_sqnr_db", "size_bytes", "macs", "bops",
)  # fmt: skip
"""What `Workflow.summary()` returns, one row per run."""

CHANNELS = (LAYER, "channel", "min", "max", "scale")
"""Weight range per output channel."""

HISTOGRAM = ("bin_left", "bin_right", "fp32", "quantsim")
"""Counts of one layer's output values, FP32 and QuantSim, over shared bins."""

SCATTER = ("fp32", "quantsim")
"""A sample of one layer's output values, one row per element."""
