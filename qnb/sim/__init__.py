"""QuantSim: quantizers placed on a captured graph, calibrated, and run."""

from qnb.sim.placement.plan import LayerGroup as LayerGroup
from qnb.sim.quantizer import Quantizer as Quantizer
from qnb.sim.quantsim import QuantSim as QuantSim
