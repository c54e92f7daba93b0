"""The values of one layer: distributions, channels, tokens, samples."""

from qnb.columns.names import LAYER, SQNR_DB

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

CALIBRATION_SAMPLES = ("sample", "min", "max", "mean")
"""What `Workflow.samples` says of calibration samples: the ends and the mean of each one's values."""
