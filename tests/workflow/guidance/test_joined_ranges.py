"""Small values that are concatenated with large ones are found before anything is quantized."""

import pytest
import torch
from torch import nn

import qnb
from qnb.graph import capture
from qnb.workflow.guidance.joined_ranges import crowded


class Detector(nn.Module):
    """Scores of 0 to 1, and boxes that are ``size`` times as large."""

    def __init__(self, size):
        super().__init__()
        self.score, self.box, self.size = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 4, 1), size

    def forward(self, x):
        scores = torch.sigmoid(self.score(x)).flatten(2)
        return torch.cat([scores, (self.box(x) * self.size).flatten(2)], 1)


@pytest.fixture
def batch():
    return torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_the_smaller_input_and_its_steps_are_named(batch):
    torch.manual_seed(0)
    model = Detector(50).eval()
    (found,) = crowded(capture(model, batch), [batch])
    values = model(batch).detach()
    assert (found.concat, found.layer) == ("cat", "sigmoid")
    assert found.step == pytest.approx(float(values.max() - values.min()) / 255)
    assert found.low == pytest.approx(float(values[:, :2].min())) and found.steps <= 3


def test_values_of_one_size_are_no_reason_to_warn(batch):
    assert not list(crowded(capture(Detector(1).eval(), batch), [batch]))


def test_check_says_it_with_the_figures(batch):
    torch.manual_seed(0)
    flow = qnb.Workflow(Detector(50).eval(), [batch] * 20, lambda model: float(model(batch).mean()), target="htp-v75")
    found = [f.text for f in flow.check().issues if "joins" in f.text]
    assert len(found) == 1 and "'cat' joins 'sigmoid' (" in found[0] and "of 255" in found[0]


def test_check_names_what_the_target_does_not_run(batch):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 9, padding=4)

        def forward(self, x):
            return torch.log(torch.erf(self.conv(x)).abs() + 1)

    flow = qnb.Workflow(Net().eval(), [batch] * 20, lambda model: float(model(batch).mean()), target="htp-v75")
    checked = flow.check()
    assert not checked.ok
    said = {f.tone: [g.text for g in checked.issues if g.tone == f.tone] for f in checked.issues}
    assert said["bad"] == [
        "htp-v75 has no kernel for erf, layer 'erf': use torch.nn.functional.gelu where it is part of a GELU"
    ]
    assert any("at 16-bit weights htp-v75 computes kernels longer than 7 to 40 dB" in text for text in said["warn"])
    assert any("at 16-bit activations htp-v75 computes log wrongly, layer 'log'" in text for text in said["warn"])
