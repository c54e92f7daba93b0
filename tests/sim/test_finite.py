"""Values that are not finite: which layer gave them, in which batch; found in the statistics alone."""

from collections import Counter

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import qnb
from qnb.errors import CalibrationError
from qnb.ranges import RULES


class Net(nn.Module):
    """Gives -inf at ``log`` where a value is 0, NaN where it is negative; a sigmoid's range is fixed."""

    def __init__(self):
        super().__init__()
        self.gate, self.head = nn.Sigmoid(), nn.Linear(4, 2)

    def forward(self, x):
        return self.head(torch.log(x) * self.gate(x))


def batches(*least):
    return [
        torch.rand(3, 4).clamp(min=0.1).index_put((torch.tensor(1), torch.tensor(2)), torch.tensor(v)) for v in least
    ]


class Readings(TorchDispatchMode):
    """Counts functions called."""

    def __init__(self):
        super().__init__()
        self.count = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count[function] += 1
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("method", RULES)
@pytest.mark.parametrize(
    ("bad", "layer"),
    [(0.0, "layer 'log'"), (-1.0, "layer 'log'"), (float("inf"), "graph input 'x'"), (float("nan"), "graph input 'x'")],
)
def test_the_first_layer_and_its_batch_are_named(method, bad, layer):
    sim = qnb.QuantSim(Net().eval(), batches(0.5)[0], "w8a8").calibrate(batches(0.5))
    before = sim.encodings()
    with pytest.raises(CalibrationError, match=f"{layer} gave NaN or infinite values in batch 2"):
        sim.calibrate(batches(0.5, 0.2, bad, 0.5), method)
    assert sim.encodings().equals(before)


def test_min_max_reads_each_tensor_once():
    sim = qnb.QuantSim(Net().eval(), batches(0.5)[0], "w8a8")
    found = []
    for data in (batches(0.5), batches(0.5, 0.2, 0.3)):
        with Readings() as readings:
            sim.calibrate(data)
        found.append(readings.count[torch.ops.aten.aminmax.default])
    assert found[1] - found[0] == 2 * len(sim.plan.activations)
