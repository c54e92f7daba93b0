"""Measures: how far the simulation is from FP32, what it costs, what the metric says. They return DataFrames."""

from qnb.measures.attribution.attribute import attribute as attribute
from qnb.measures.attribution.result import Attribution as Attribution
from qnb.measures.calibration.curve import calibration_curve as calibration_curve
from qnb.measures.calibration.result import CalibrationCurve as CalibrationCurve
from qnb.measures.cost import cost as cost
from qnb.measures.cost import model_bytes as model_bytes
from qnb.measures.layers.compare import compare_layers as compare_layers
from qnb.measures.layers.profile import LayerProfile as LayerProfile
from qnb.measures.layers.profile import distributions as distributions
from qnb.measures.layers.profile import profile_layers as profile_layers
from qnb.measures.layers.weights import weight_channels as weight_channels
from qnb.measures.layers.worst_samples import SamplesFound as SamplesFound
from qnb.measures.layers.worst_samples import worst_samples as worst_samples
from qnb.measures.memory import activation_bytes as activation_bytes
from qnb.measures.metrics.accuracy import accuracy as accuracy
from qnb.measures.metrics.perplexity import cross_entropy as cross_entropy
from qnb.measures.metrics.perplexity import perplexity as perplexity
from qnb.measures.metrics.score import Drop as Drop
from qnb.measures.metrics.score import Score as Score
from qnb.measures.metrics.score import paired_drop as paired_drop
from qnb.measures.sensitivity.estimate import sensitivity as sensitivity
from qnb.measures.sequence.compare import sequence_errors as sequence_errors
from qnb.measures.sequence.errors import SequenceErrors as SequenceErrors
from qnb.measures.sequence.tokens import has_tokens as has_tokens
