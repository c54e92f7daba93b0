"""How many calibration samples are enough."""

from qnb.columns.names import KIND, LAYER, SQNR_DB

CALIBRATION_CURVE = ("samples", SQNR_DB, "range_share", "least_range_share", "least_layer", "enough")
"""What `qnb.calibration_curve` finds, one row per count of calibration samples: SQNR at the model's outputs with the
ranges of so many; how wide these are, as a share of the ranges of all samples, in the median and at the layer where it
is least; whether so many are enough."""

CALIBRATION_RANGES = (LAYER, KIND, "samples", "min", "max")
"""The range of each input and layer after so many calibration samples, in graph order, inputs first; ``min`` and
``max`` as in `ENCODINGS`."""
