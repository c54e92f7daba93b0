"""Charts: a DataFrame in, a Plotly figure out. They know column names only, and read on light and dark pages."""

from qnb.charts.bits import bits
from qnb.charts.fidelity import fidelity
from qnb.charts.history import history
from qnb.charts.layer_histogram import layer_histogram
from qnb.charts.layer_scatter import layer_scatter
from qnb.charts.layer_sqnr import layer_sqnr
from qnb.charts.pareto import pareto
from qnb.charts.sensitivity import sensitivity
from qnb.charts.summary import summary
from qnb.charts.weight_ranges import weight_ranges

__all__ = [
    "bits",
    "fidelity",
    "history",
    "layer_histogram",
    "layer_scatter",
    "layer_sqnr",
    "pareto",
    "sensitivity",
    "summary",
    "weight_ranges",
]
