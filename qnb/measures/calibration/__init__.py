"""How many calibration samples are enough: ranges and the error at the outputs, by their number."""
