"""Each cause is named first where it was planted; `tests/bench/diagnosis.py` does it at all strengths."""

import pytest

from qnb.workflow.diagnosis.cause import CAUSES
from tests.workflow.diagnosis.plants import PLANTS


@pytest.mark.parametrize("cause", PLANTS)
def test_what_was_planted_is_named_first(cause):
    plant = PLANTS[cause]
    planted = plant.make(plant.strengths[1])
    found = planted.flow.diagnose(planted.run)
    assert len(found), "nothing was found"
    first = found.findings[0]
    assert first.name == cause and (first.code or cause == "noisy_metric")
    assert first.layers[:1] == ((planted.layer,) if planted.layer else first.layers[:1])
    if first.measured_gain_db == first.measured_gain_db:
        assert first.measured_gain_db >= 1.0


def test_there_are_as_many_causes_as_are_promised():
    assert len(list(CAUSES)) >= 18 and set(PLANTS) <= set(CAUSES)
