"""A row per run, or per step on the way to one."""

from qnb.columns.names import LAYER, SQNR_DB

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
