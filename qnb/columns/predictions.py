"""What a model predicts: by token position, by attention head, by input sample."""

from qnb.columns.names import LAYER, OP, OWN_SQNR_DB, SQNR_DB

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
