"""Placement: graph + target -> which quantizer stands where."""
