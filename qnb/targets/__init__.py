"""Targets: where quantizers go and which precisions run, as data."""

from qnb.registry import modules as _modules
from qnb.targets.supported import runs as runs
from qnb.targets.supported import supported as supported
from qnb.targets.target import TARGETS as TARGETS
from qnb.targets.target import Supergroup as Supergroup
from qnb.targets.target import Target as Target
from qnb.targets.target import get as get

_modules(__name__)  # each registers its rows
