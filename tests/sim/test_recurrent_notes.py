"""What check() says of recurrent layers."""

import pytest
import torch
from torch import nn

import qnb
from qnb.sim.recurrent_notes import MANY, notes


class Sequence(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.rnn = nn.LSTM(4, 4, batch_first=True, **options)

    def forward(self, x):
        return self.rnn(x)[0]


def said(steps, target="htp-v75", **options):
    return list(notes(qnb.QuantSim(Sequence(**options).eval(), torch.randn(1, steps, 4), "w8a8", target=target)))


def test_many_steps():
    (text,) = said(MANY // 2, num_layers=2)
    assert f"'rnn' runs step by step on htp-v75, {MANY} steps in all" in text


def test_a_projection():
    (text,) = said(5, proj_size=2)
    assert "'rnn' has a projection" in text and "float16" in text


@pytest.mark.parametrize("arguments", [{"steps": MANY - 1}, {"steps": MANY, "target": "generic"}], ids=str)
def test_nothing_to_say(arguments):
    assert not said(**arguments)


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_check_says_it():
    model = Sequence(proj_size=2).eval()
    flow = qnb.Workflow(model, [torch.randn(2, 5, 4)], lambda m: 1.0, tolerance=0.1, target="htp-v75")
    assert any("has a projection" in finding.text for finding in flow.check().issues)
