"""Integer-exact simulation: what a runtime's integer kernels compute, code for code."""

from qnb.sim.exact.exact_sim import ExactSim as ExactSim
from qnb.sim.exact.exact_sim import check_integer as check_integer
from qnb.sim.exact.exact_sim import exact as exact
from qnb.sim.exact.kernels import KERNELS as KERNELS
