"""Measures: how far the simulation is from FP32, what it costs, what the metric says. They return DataFrames."""

from qnb.measures.layers import compare_layers as compare_layers
