"""The fingerprint of the data: taken while the data passes by, the same as of the data alone."""

import hashlib

import pytest
import torch

import qnb
from qnb.errors import Cancelled, InputError
from qnb.graph.captured import as_call
from qnb.graph.structure import flatten
from qnb.workflow.measured_run import COMPARED_BATCHES
from qnb.workflow.settings import HASHED_BATCHES, fingerprint
from tests.flows import Twofold


class Counted:
    """Batches that know how often each was asked for."""

    def __init__(self, batches):
        self.batches, self.asked = batches, 0

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        for batch in self.batches:
            self.asked += 1
            yield batch


def data(batches=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2, 3, 8, 8, generator=generator) for _ in range(batches)]


def workflow(batches):
    torch.manual_seed(0)
    return qnb.Workflow(Twofold().eval(), batches, lambda model: 0.5, example_inputs=data(1)[0])


def by_hand(batches):
    digest = hashlib.sha256()
    for batch in batches[:64]:
        leaves, structure = flatten(as_call(batch), "calibration batch")
        digest.update(repr(structure.to_json()).encode())
        for leaf in leaves:
            digest.update(f"{tuple(leaf.shape)}{leaf.dtype}".encode() + leaf.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


@pytest.mark.parametrize("count", [3, COMPARED_BATCHES + 2])
def test_a_run_reads_the_data_twice(count):
    batches = Counted(data(count))
    flow = workflow(batches)
    for name in ("w8a8", "w4a8", "fp16"):
        batches.asked = 0
        flow.run(name)
        assert batches.asked == (0 if name == "fp16" else count) + min(count, COMPARED_BATCHES)
        assert flow[name].settings["data"] == flow.data_fingerprint == by_hand(batches.batches)
    batches.asked = 0
    flow.run("fp32")
    assert batches.asked == 0 and "data" not in flow["fp32"].settings


@pytest.mark.parametrize("first", ["w8a8", "fp16"])
@pytest.mark.parametrize("count", [1, HASHED_BATCHES, HASHED_BATCHES + 1])
def test_it_is_that_of_the_first_batches(first, count):
    batches = data(count)
    flow = workflow(batches)
    flow.run(first)
    assert flow.data_fingerprint == fingerprint(batches) == by_hand(batches)


def test_of_batches_with_structure():
    batches = [{"x": torch.arange(4), "y": [torch.zeros(()), torch.ones(2, 2).T]}]
    assert fingerprint(batches) == by_hand(batches) != fingerprint([{"x": torch.arange(4)}])


@pytest.mark.parametrize("first", ["w8a8", "fp16"])
def test_a_cancelled_pass_leaves_none(first):
    flow = workflow(data())
    flow.run("fp32")

    def stop(done, total, message):
        if "calibrating" in message and done == 2:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        flow.run(first, progress=stop)
    assert flow.data_fingerprint == ""
    assert flow.run("w8a8").settings["data"] == by_hand(data())


def test_what_is_wrong_with_a_batch_is_said_by_the_calibration():
    with pytest.raises(InputError, match="QuantSim.calibrate"):
        workflow([*data(1), "text"]).run("w8a8")


def test_data_that_change_have_the_fingerprint_they_were_first_calibrated_with():
    class Changing:
        passes = 0

        def __iter__(self):
            Changing.passes += 1
            return iter(data(seed=Changing.passes))

    flow = workflow(Changing())
    flow.run("w8a8")
    flow.run("w4a8")
    assert flow["w8a8"].settings["data"] == flow["w4a8"].settings["data"] == by_hand(data(seed=1))
