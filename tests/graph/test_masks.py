"""Masks stand right before the softmax, where the scores can be quantized first; idle ones are gone."""

import math

import pytest
import torch
from torch import fx, nn

import qnb
from qnb.graph import capture, ops
from qnb.graph.constants import constant_value
from tests.graph.test_capture import same

LOWEST = torch.finfo(torch.float32).min
X = torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(3))


class Biased(nn.Module):
    """Attention whose mask is put onto a learned position bias, before the bias is added to the scores."""

    def __init__(self, masked, seen=None):
        super().__init__()
        self.q, self.k = nn.Linear(8, 8), nn.Linear(8, 8)
        self.bias = nn.Parameter(torch.randn(6, 6))
        self.masked = masked
        self.register_buffer("seen", torch.ones(6, 6).bool().tril() if seen is None else seen)

    def forward(self, x):
        scores = self.q(x) @ self.k(x).transpose(1, 2)
        return torch.softmax(scores + self.masked(self.bias, self.seen), -1) @ x


PLACES = {
    "where -inf": lambda bias, seen: torch.where(seen, bias, -math.inf),
    "where finfo.min": lambda bias, seen: torch.where(seen, bias, LOWEST),
    "where not": lambda bias, seen: torch.where(~seen, torch.tensor(-math.inf), bias),
    "masked_fill": lambda bias, seen: bias.masked_fill(~seen, -math.inf),
    "add -100": lambda bias, seen: bias + (~seen) * -100.0,
    "add first": lambda bias, seen: (~seen) * -1e9 + bias,
}


def called(captured):
    return [ops.name(n) for n in captured.module.graph.nodes if n.op == "call_function"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("target", ["generic", "htp-v75"])
def test_a_mask_on_the_bias_costs_what_one_on_the_scores_costs(place, target):
    torch.manual_seed(0)
    model = Biased(PLACES[place]).eval()
    captured = capture(model, X)
    same(model, captured, X)
    order = called(captured)
    assert order[order.index("softmax") - 1] == place.split()[0], order
    sim = qnb.QuantSim(model, X, "w8a8", target=target).calibrate([X])
    table = qnb.compare_layers(sim, [X])
    assert (table.own_sqnr_db > 30).all() and table.sqnr_db.iloc[-1] > 25, table
    ranges = sim.encodings().query("kind == 'activation'")
    assert (ranges["max"] - ranges["min"]).max() < 30, "the mask got into a range"


@pytest.mark.parametrize("place", ["where -inf", "where not", "masked_fill"])
def test_a_constant_mask_that_shuts_nothing_out_is_left_out(place):
    model = Biased(PLACES[place], seen=torch.ones(6, 6).bool()).eval()
    captured = capture(model, X)
    same(model, captured, X)
    assert not {"where", "masked_fill"} & set(called(captured))


def test_fillings_that_do_not_absorb_the_scores_stay_where_they_are():
    model = Biased(lambda bias, seen: torch.where(seen, bias, -4.0)).eval()
    captured = capture(model, X)
    same(model, captured, X)
    assert called(captured)[-3:-1] == ["add", "softmax"], "the mask and the bias are one constant"


LEARNED = {
    "condition": lambda bias, seen: torch.where(bias > 0, torch.zeros(6, 6), -math.inf),
    "filling": lambda bias, seen: torch.zeros(6, 6).masked_fill(~seen, bias.sum()),
    "number": lambda bias, seen: bias + 1.0,
}


@pytest.mark.parametrize("what", LEARNED)
def test_what_only_looks_like_a_mask_stays_as_it_is(what):
    model = Biased(LEARNED[what]).eval()
    captured = capture(model, X)
    same(model, captured, X)
    assert called(captured)[-3:-1] == ["add", "softmax"]


def test_a_mask_given_as_an_input_is_kept_whatever_the_example_says():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.q = nn.Linear(8, 8)

        def forward(self, x, seen):
            scores = self.q(x) @ x.transpose(1, 2)
            return torch.softmax(torch.where(seen, scores, -math.inf), -1)

    model = Net().eval()
    captured = capture(model, (X, torch.ones(2, 6, 6).bool()))
    assert "where" in called(captured)
    same(model, captured, (X, torch.ones(2, 6, 6).bool().tril()))


def test_constant_values_are_known_only_where_nothing_varies():
    graph = fx.Graph()
    x, size = graph.placeholder("x"), graph.call_function(torch.ops.aten.sym_size.int, (graph.placeholder("y"), 0))
    fixed = graph.call_function(torch.ops.aten.arange.default, (3,))
    table = graph.call_function(torch.ops.aten.ge.Scalar, (fixed, 1))
    nodes = [
        table,
        x,
        graph.call_function(torch.ops.aten.arange.default, (size,)),
        graph.call_function(torch.ops.aten.add.Tensor, (x, fixed)),
        graph.call_function(torch.ops.aten.rand.default, ([3],)),
    ]
    for node in graph.nodes:
        node.meta["val"] = 3 if node is size else torch.empty(3)
    module = fx.GraphModule({}, graph)
    known, *unknown = (constant_value(module, n) for n in nodes)
    assert known.tolist() == [False, True, True] and unknown == [None] * 4
