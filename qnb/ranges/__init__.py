"""Ranges: streaming statistics, and the rules that turn them into the range of a grid."""

from qnb.ranges.histogram import Histogram as Histogram
from qnb.ranges.rules import RULES as RULES
from qnb.ranges.rules import Rule as Rule
from qnb.ranges.rules import rule as rule
from qnb.ranges.static import tensor_range as tensor_range
from qnb.ranges.statistics import MinMax as MinMax
