"""Which layers layers and outputs are computed from."""

import torch
from torch import nn

import qnb
from qnb.runtimes import wiring


class Heads(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.boxes, self.classes = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 4, 1), nn.Conv2d(8, 5, 1)

    def forward(self, x):
        hidden = torch.relu(self.stem(x)) + 1.5 * x.mean(1, keepdim=True)
        boxes, scores = self.boxes(hidden) * 20, self.classes(hidden).softmax(1)
        best, place = scores.flatten(2).amax(1).topk(5, -1)
        taken = boxes.flatten(2).gather(2, place[:, None].expand(-1, 4, -1)) + 0.5
        joined = torch.cat([boxes, scores], 1).flatten(2).transpose(1, 2)
        return {
            "joined": joined,
            "class": scores.argmax(1),
            "place": place,
            "best": best,
            "taken": taken,
            "some": joined[:, :, :4],
        }


def wired(precision="w8a16", **layers):
    torch.manual_seed(0)
    sim = qnb.QuantSim(Heads().eval(), torch.randn(4, 3, 8, 8), precision)
    for layer, other in layers.items():
        sim.set_precision(layer, other)
    return sim, wiring.of(sim)


def test_layers_read_layers_and_branches_meet():
    sim, found = wired()
    assert list(found.layers) == sim.layers().layer.tolist()
    assert found.layers["stem"].layers == () and found.layers["add"].layers == ("stem", "mean")
    assert found.layers["softmax"].layers == ("classes",)
    before = found.before(found.outputs[1])
    assert before == ["stem", "mean", "add", "classes", "softmax"], "the boxes are no part of the class"


def test_what_is_joined_is_known_by_its_parts():
    _, found = wired()
    assert found.outputs[0].parts == ("boxes", "softmax") and found.outputs[5].parts == (), "a slice has not all of it"
    assert all(found.outputs[i].parts == () for i in (1, 2, 3, 4))


def test_choices_and_orders():
    _, found = wired()
    joined, kind, place, best, taken, _ = found.outputs
    assert not joined.chosen and kind.chosen and not kind.ordered and place.ordered
    assert not best.chosen, "the largest values are as continuous as what they are chosen from"
    read = found.layers[taken.layers[0]]
    assert read.ordered and set(read.layers) == {"boxes", "softmax"}


def test_the_fewest_bits_on_the_way():
    _, found = wired("w8a16")
    assert {s.bits for s in found.layers.values()} == {16}
    _, found = wired("w8a16", classes="w8a8")
    assert found.layers["boxes"].bits == 16 and found.layers["softmax"].bits == 8 and found.outputs[1].bits == 8
    assert {s.bits for s in wired("fp32")[1].layers.values()} == {32}
    assert {s.bits for s in wired("fp16")[1].layers.values()} == {16}


def test_where_only_the_order_is_known():
    found = wiring.in_a_row(["a", "b", "c"], 2, 8)
    assert found.layers["c"].layers == ("b",) and len(found.outputs) == 2
    assert found.before(found.outputs[1]) == ["a", "b", "c"]
