"""Two runs side by side."""

from qnb.columns.names import KIND, LAYER, MODULE, OP

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
