"""A row per layer, per quantizer, or per part of either."""

from qnb.columns.names import KIND, LAYER, MODULE, OP, OWN_SQNR_DB, SQNR_DB

COMPARISON = (
    LAYER,
    MODULE,
    OP,
    SQNR_DB,
    OWN_SQNR_DB,
    "mse",
    "cosine",
    "max_abs_error",
    "fp32_min",
    "fp32_max",
    "saturated_fraction",
    "numel",
)
"""What `qnb.compare_layers` returns, one row per layer in graph order."""

SHARES, OUTPUT_SHARE = ("weight_share", "activation_share", "bias_share"), "output_share"

ATTRIBUTION = (LAYER, OP, "inherited_db", "added_db", *SHARES, OUTPUT_SHARE)
"""What `qnb.attribute` finds, one row per input (op "input") and layer in graph order; the last column is the sum of
the three before it."""

ENCODINGS = ("tensor", LAYER, KIND, "bits", "symmetric", "axis", "block_size", "min", "max", "scale", "zero_point")
"""What `QuantSim.encodings()` returns, one row per quantizer."""

LAYERS = (LAYER, MODULE, OP, "weight_bits", "activation_bits", "enabled", "weight_numel", "output_shape", "source")
"""What `QuantSim.layers()` returns, one row per layer in graph order."""

RECOVERY = (LAYER, OP, "own_before_db", "own_after_db", "before_db", "after_db")
"""First columns of a recovery method's `Result.table`, one row per layer; the method's own figures follow."""

CLIPPING = (LAYER, KIND, "clipped_fraction", "seen_min", "seen_max", "min", "max", "numel")
"""What `Run.clipping` holds: values beyond the range of each activation quantizer while the metric was evaluated, one
row per layer in graph order, inputs first."""

SENSITIVITY = (LAYER, KIND, "score", "low", "high")
"""What `qnb.sensitivity` returns, the most sensitive first."""

COST = (LAYER, OP, "macs", "bops", "weight_bytes", "activation_bytes")
"""What `qnb.measures.cost` returns, one row per layer."""

FIDELITY = (
    LAYER,
    OP,
    SQNR_DB,
    "equal_fraction",
    "within_one_fraction",
    "max_steps",
    "top1_agreement",
    "numel",
)
"""What `qnb.fidelity` returns, one row per layer in graph order, then one per output (op "output")."""
