"""Each cause is named first where it was planted; `tests/bench/diagnosis.py` does it at all strengths."""

import pytest

import qnb
from qnb.workflow.diagnosis.cause import CAUSES
from tests.workflow.diagnosis.plants import PLANTS, TIED


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


def test_every_cause_has_a_plant_at_three_strengths():
    assert {*PLANTS} == {*CAUSES} and len(PLANTS) >= 18
    assert all(len(set(plant.strengths)) == 3 for plant in PLANTS.values())


def test_what_a_target_ties_to_activations_has_the_bits_of_the_last_pattern():
    """What was asked for is told from ``layers``, where a glob may name a layer."""
    demo = qnb.demo.language()
    flow = qnb.Workflow(demo.model, demo.calibration[:2], demo.evaluate, target=TIED, tolerance=0.1)
    flow.run("w8a16", layers={"*": "w16a16", "emb*": "w5a5"}, name="asked")
    assert "other_bits" not in [f.name for f in flow.diagnose("asked")]
