"""Measures: how far the simulation is from FP32, what it costs, what the metric says. They return DataFrames."""

from qnb.measures.cost import cost as cost
from qnb.measures.cost import model_bytes as model_bytes
from qnb.measures.distributions import layer_histogram as layer_histogram
from qnb.measures.distributions import layer_scatter as layer_scatter
from qnb.measures.distributions import weight_channels as weight_channels
from qnb.measures.layers import compare_layers as compare_layers
from qnb.measures.score import Drop as Drop
from qnb.measures.score import Score as Score
from qnb.measures.score import accuracy as accuracy
from qnb.measures.score import paired_drop as paired_drop
