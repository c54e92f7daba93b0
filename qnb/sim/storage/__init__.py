"""A QuantSim as one file: tensors in safetensors, the graph and all settings as JSON in its header. No pickle."""

from qnb.sim.storage.file import FORMAT as FORMAT
from qnb.sim.storage.file import dumps as dumps
from qnb.sim.storage.file import load as load
from qnb.sim.storage.file import loads as loads
from qnb.sim.storage.file import of as of
from qnb.sim.storage.file import read as read
from qnb.sim.storage.file import save as save
from qnb.sim.storage.packing import Shared as Shared
from qnb.sim.storage.packing import Tensors as Tensors
from qnb.sim.storage.packing import same as same
