"""Graph: capture of a model as a flat functional graph, and what its ops mean."""

from qnb.graph.batches import inputs as inputs
from qnb.graph.batches import reiterable as reiterable
from qnb.graph.capture import capture as capture
from qnb.graph.captured import Captured as Captured
from qnb.graph.captured import Input as Input
