"""Trained models with one thing wrong in each, at three strengths, weakest first: what a diagnosis must name.

What is planted leaves the FP32 function as it was wherever it can: only quantization suffers.
"""

from tests.workflow.diagnosis.plants import arithmetic, data, float16, general, ranges
from tests.workflow.diagnosis.plants.plant import PLANTS as PLANTS
from tests.workflow.diagnosis.plants.ranges import TIED as TIED

REGISTERED = (data, ranges, arithmetic, float16, general)
"""Each registers its plants when it is imported."""
