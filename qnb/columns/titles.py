"""What the head of a table calls a column."""

from qnb.columns.names import OWN_SQNR_DB, SQNR_DB

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
    "range_share": "range, median layer",
    "least_range_share": "range, narrowest layer",
}


def title(column: object) -> str:
    """A column's name as the head of a table shows it.

    >>> title("own_sqnr_db"), title("weakest_layer")
    ('own SQNR (dB)', 'weakest layer')
    """
    return _TITLES.get(str(column), str(column).replace("_", " "))
