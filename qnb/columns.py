"""Names of DataFrame columns, in one place; a name contains the unit."""

LAYER, MODULE, OP, KIND = "layer", "module", "op", "kind"
SQNR_DB, OWN_SQNR_DB = "sqnr_db", "own_sqnr_db"

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

ATTEMPTS = ("tried", "metric", "low", "high", "drop", "verdict", SQNR_DB, "size_bytes", "seconds", "kept")
"""What the recipe "auto" tried, one row per method on top of what was kept before it; SQNR at the output."""

GUIDED = ("predicted_gain_db", "gain_db", "why")
"""What the recipe "auto" adds to `ATTEMPTS`: SQNR at the output that an attempt should gain, and did, and why it was
chosen."""

DIAGNOSIS = ("cause", "layers", "evidence", "remedy", "code", "predicted_gain_db", "measured_gain_db", "metric")
"""What `Workflow.diagnose()` found, one row per finding, the largest measured gain first; gains in SQNR at the output,
the metric where it was evaluated."""

FRONT = ("point", "cost", "cost_fraction", "predicted", "measured", "low", "high", "metric", "chosen")
"""Points of a mixed-precision search, the cheapest first: cost, also as a share of the most expensive candidate's,
predicted loss, and of those that were verified the metric and its drop with an interval."""

BITS = ("point", LAYER, "weight_bits", "activation_bits")
"""One row per point and layer in graph order, inputs too; no ``weight_bits`` where there are no weights."""

COST = (LAYER, OP, "macs", "bops", "weight_bytes", "activation_bytes")
"""What `qnb.measures.cost` returns, one row per layer."""

SUMMARY = (
    "run",
    "precision",
    "metric",
    "low",
    "high",
    "n",
    "drop",
    "verdict",
    "weakest_layer",
    "weakest_own_sqnr_db",
    "size_bytes",
    "activation_bytes",
    "macs",
    "bops",
    "file_bytes",
    "latency_ms",
)
"""What `Workflow.summary()` returns, one row per run; the last two are empty until `measure` found them (`deploy`
finds the file's size)."""

BEST = ("size_bytes", "bops", "drop")
"""Of the runs within tolerance the one to ship has the least of these, compared in this order; of equals the first."""
CONTROL = "w16a16"
"""A run at this precision is compared with FP32, and shipped only where no other is within tolerance."""

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

PERFORMANCE = ("run", "file_bytes", "latency_ms", "low_ms", "high_ms", "note")
"""What `Workflow.measure()` returns: median, 10th and 90th percentile; NaN with a note where none is measured."""

FILES = ("file", "what", "size_bytes")
"""The files of a deployment."""

DEPLOYMENT = (
    "runtime",
    "status",
    SQNR_DB,
    "equal_fraction",
    "exact_equal_fraction",
    "top1_agreement",
    "metric",
    "drop",
    "latency_ms",
    "fallback_nodes",
    "note",
)
"""One row per runtime of a deployment: simulation against runtime at the outputs, the metric there."""

CHANNELS = (LAYER, "channel", "min", "max", "scale")
"""Weight range per output channel."""

HISTOGRAM = ("bin_left", "bin_right", "fp32", "quantsim")
"""Counts of one layer's output values, FP32 and QuantSim, over shared bins."""

SCATTER = ("fp32", "quantsim")
"""A sample of one layer's output values, one row per element."""

WORST_CHANNELS = ("channel", SQNR_DB, "mse", "fp32_min", "fp32_max")
"""Error of each channel of a layer's output, the worst first."""

DISTRIBUTION = (*HISTOGRAM, "error")
"""As `HISTOGRAM`, with the counts of QuantSim's error over the same bins, and over more where it goes beyond."""

ERRORS = ("bin_left", "bin_right", "error")
"""Counts of the error of one layer's output, QuantSim less FP32, over bins of its own."""

DISTRIBUTIONS = (LAYER, "kurtosis", "saturated_fraction", "clipped_fraction", "levels", "levels_used", "effective_bits")
"""What `qnb.measures.distributions` returns, one row per layer: kurtosis of the FP32 values, the shares of QuantSim's
and of FP32 values that the grid clips, the grid's levels, how many of them are used, and the codes' entropy in bits."""

CHANNEL_DISTRIBUTIONS = ("channel", "fp32_min", "fp32_max", "kurtosis", SQNR_DB, "saturated_fraction", "levels_used")
"""Each channel of a layer's output; its levels are missing where they were too many to remember."""

TOKENS = ("token", SQNR_DB, "mse", "fp32_max_abs", "max_abs_error")
"""Each position of an output ``[batch, tokens, features]``."""

SAMPLES = ("sample", SQNR_DB, "mse")
"""Error of each input sample at a layer, counted over the batches compared, the worst first."""

POSITIONS = (LAYER, OP, "position", "last_position", SQNR_DB, OWN_SQNR_DB, "mse", "numel")
"""Error of each layer at each token position, layers in graph order. From position 512 on, 128 positions are a row."""

HEADS = (LAYER, OP, "head", SQNR_DB, OWN_SQNR_DB, "mse", "numel")
"""Error of each head in attention, layers in graph order."""

PREDICTIONS = ("position", "last_position", "kl_nats", "kl_p95_nats", "top1_agreement", "n")
"""KL(FP32 || QuantSim) of what is predicted at each token position, mean and 95th percentile, and how often both
predict the same; one row where a model predicts once for each sample."""
WORST_SAMPLES = (
    "sample",
    "batch",
    SQNR_DB,
    "mse",
    "flipped",
    "position",
    "fp32_prediction",
    "quantsim_prediction",
    "fp32_margin",
    "quantsim_margin",
)
"""Input samples by their error: which one, counted over all batches, and of which batch; whether the prediction is not
FP32's; where the output has several predictions, at which position; the predictions, and by how much each leads. What
is about predictions is missing where the model's outputs are no scores."""
GAINS = (LAYER, MODULE, OP, "change", "own_a_db", "own_b_db", "own_gain_db", "sqnr_a_db", "sqnr_b_db", "gain_db")
"""What `qnb.measures.layers.gains.gains` returns, one row per layer in graph order: SQNR of two runs, a and b, and how
much more b has. ``change`` is one of `CHANGES`."""
WON, LOST, SAME, ONLY_A, ONLY_B, UNKNOWN = CHANGES = ("won", "lost", "same", "only a", "only b", "not measured")
"""What happened to a layer, or to an encoding that only one run has."""
SAME_DB = 0.5
"""A smaller difference of SQNR is none. It is about two standard deviations of what the same two runs differ by on
other batches of 32 to 64 samples (0.05 to 0.26 dB, medians over the layers of `qnb.demo.digits`)."""

DIFF = (*GAINS, "precision_a", "precision_b")
"""``layers`` of what `Workflow.diff` returns: the gains, and each layer's precision, empty where it is not known."""

DIFF_ENCODINGS = (
    "tensor",
    LAYER,
    KIND,
    "change",
    "bits_a",
    "bits_b",
    "symmetric_a",
    "symmetric_b",
    "channels_a",
    "channels_b",
    "min_a",
    "min_b",
    "max_a",
    "max_b",
    "range_change_percent",
    "scale_a",
    "scale_b",
    "zero_point_a",
    "zero_point_b",
)
"""Encodings that two runs do not share, one row per tensor. Of several channels or blocks: how many there are, the
least ``min``, the largest ``max``, the medians of scale, zero point and change of the range."""

DIFF_SAMPLES = ("sample", "value_a", "value_b", "change")
"""Samples on which two runs differ, the largest difference first; ``change`` is better or worse."""

DIFF_COSTS = (
    "run",
    "size_bytes",
    "activation_bytes",
    "macs",
    "bops",
    "file_bytes",
    "latency_ms",
    "seconds",
)
"""Two runs and their difference, a row each; ``seconds`` is how long the step took."""

DIFF_SETTINGS = ("setting", "a", "b")
"""What two runs were made with, where it is not the same."""

_TITLES = {
    SQNR_DB: "SQNR (dB)",
    OWN_SQNR_DB: "own SQNR (dB)",
    "weakest_own_sqnr_db": "own SQNR (dB)",
    "mse": "MSE",
    "saturated_fraction": "QuantSim clipped",
    "inherited_db": "inherited",
    "added_db": "added",
    "weight_share": "weight",
    "activation_share": "activation",
    "bias_share": "bias",
    "output_share": "share of the output's error",
    "clipped_fraction": "clipped in evaluation",
    "max_abs_error": "max abs error",
    "fp32_min": "FP32 min",
    "fp32_max": "FP32 max",
    "numel": "values",
    "fp32_max_abs": "FP32 max abs",
    "before_db": "before",
    "after_db": "after",
    "own_before_db": "own, before",
    "own_after_db": "own, after",
    "size_bytes": "size (bytes)",
    "macs": "MACs",
    "bops": "BOPs",
    "fp32": "FP32",
    "quantsim": "QuantSim",
    "fp32_prediction": "FP32 prediction",
    "quantsim_prediction": "QuantSim prediction",
    "fp32_margin": "FP32 margin",
    "quantsim_margin": "QuantSim margin",
    "equal_fraction": "equal",
    "within_one_fraction": "within one step",
    "max_steps": "largest difference (steps)",
    "top1_agreement": "top-1 agreement",
    "exact_equal_fraction": "equal (integer-exact)",
    "latency_ms": "latency (ms)",
    "fallback_nodes": "fallback nodes",
    "file_bytes": "file (bytes)",
    "weight_bytes": "bytes of weights",
    "activation_bytes": "activations (bytes)",
    "kl_nats": "KL (nats)",
    "kl_p95_nats": "KL, 95th percentile (nats)",
    "own_a_db": "own, a",
    "own_b_db": "own, b",
    "own_gain_db": "own gain",
    "sqnr_a_db": "a",
    "sqnr_b_db": "b",
    "gain_db": "gain",
    "range_change_percent": "range (%)",
}


def title(column: object) -> str:
    """A column's name as the head of a table shows it.

    >>> title("own_sqnr_db"), title("weakest_layer")
    ('own SQNR (dB)', 'weakest layer')
    """
    return _TITLES.get(str(column), str(column).replace("_", " "))
