"""Outputs are measured part by part: what is joined with larger numbers still counts."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

import qnb
from qnb.errors import InputError
from qnb.measures.layers.output_parts import OutputNoise, output_parts, sqnr_db


class Detector(nn.Module):
    """Boxes up to 640 and scores up to 1 in one tensor, moved afterwards."""

    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(3, 8, 3, padding=1)
        self.box, self.score = nn.Conv2d(8, 4, 1), nn.Conv2d(8, 2, 1)

    def forward(self, x):
        h = torch.relu(self.body(x))
        boxes = torch.sigmoid(self.box(h)).flatten(2) * 640.0
        scores = torch.sigmoid(self.score(h)).flatten(2)
        return torch.cat([boxes, scores], 1).transpose(1, 2)


class Nested(nn.Module):
    """cat(stack(a, b), c), the inner one moved; and a slice of it as a second output."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 3), nn.Linear(4, 3), nn.Linear(4, 5)

    def forward(self, x):
        inner = torch.stack([self.a(x), self.b(x)], -1).flatten(1)
        joined = torch.cat((inner, self.c(x)), dim=-1)
        return joined, joined[:, :2], x.argmax(1)


def sim_of(model, data, precision="w8a8", target="htp-v75"):
    return qnb.QuantSim(model.eval(), data[0], precision, target=target).calibrate(data)


def outputs(sim, data):
    with torch.no_grad():
        return [(sim.reference_model(x), sim(x)) for x in data]


def ratio(pairs):
    noise = sum(float((s - r).double().square().sum()) for r, s in pairs)
    return noise / sum(float(r.double().square().sum()) for r, _ in pairs)


@pytest.fixture
def images():
    return [torch.randn(2, 3, 6, 6) for _ in range(3)]


def test_scores_and_boxes_in_one_tensor_are_two_parts(images):
    sim = sim_of(Detector(), images)
    noise = OutputNoise(sim, images)
    assert len(noise.layers) == 2 and noise.passes == 1
    found, pairs = noise(sim), outputs(sim, images)
    assert noise.passes == 2
    wanted = [ratio([(r[..., a:b], s[..., a:b]) for r, s in pairs]) for a, b in ((0, 4), (4, 6))]
    np.testing.assert_allclose(found, wanted, rtol=1e-4)


def test_scores_that_vanish_are_seen_where_the_whole_tensor_hides_it(images):
    sim = sim_of(Detector(), images)
    pairs = outputs(sim, images)
    found = OutputNoise(sim, images)(sim)
    assert -10 * math.log10(ratio(pairs)) > sqnr_db(found) + 10  # the scores share the boxes' scale


def test_parts_are_named_by_their_makers_through_nested_joins_and_moves():
    data = [torch.randn(6, 4) for _ in range(2)]
    sim = sim_of(Nested(), data)
    assert [p.layer for p in output_parts(sim)] == ["a", "b", "c"]
    assert [p.place for p in output_parts(sim)] == [0, 1, 1]
    pairs = outputs(sim, data)
    stacked = [(r[0][:, :6].reshape(-1, 3, 2), s[0][:, :6].reshape(-1, 3, 2)) for r, s in pairs]
    wanted = [ratio([(r[..., i], s[..., i]) for r, s in stacked]) for i in (0, 1)]
    wanted.append(ratio([(r[0][:, 6:], s[0][:, 6:]) for r, s in pairs]))
    np.testing.assert_allclose(OutputNoise(sim, data)(sim), wanted, rtol=1e-4)


@pytest.mark.parametrize("op", [torch.hstack, torch.vstack, torch.cat])
def test_each_way_to_join_is_split_at_the_right_place(op):
    class Joins(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 3), nn.Linear(4, 3)

        def forward(self, x):
            return op([self.a(x), self.b(x) * 100.0])

    data = [torch.randn(5, 4)]
    sim = sim_of(Joins(), data)
    axis = 1 if op is torch.hstack else 0
    (reference, simulated) = outputs(sim, data)[0]
    wanted = [ratio([pair]) for pair in zip(reference.chunk(2, axis), simulated.chunk(2, axis), strict=True)]
    np.testing.assert_allclose(OutputNoise(sim, data)(sim), wanted, rtol=1e-4)


def test_a_copy_with_other_settings_is_measured_against_the_same_reference(images):
    sim = sim_of(Detector(), images, "w4a8")
    noise = OutputNoise(sim, images)
    other = sim.copy().disable()
    assert noise(other).tolist() == [0.0, 0.0] and noise(sim).min() > 0 and noise.passes == 3


def test_exact_simulations_are_measured_too(images):
    sim = sim_of(Detector(), images)
    exact = sim.exact("htp")
    found = OutputNoise(sim, images)(exact)
    pairs = outputs(exact, images)
    wanted = [ratio([(r[..., a:b], s[..., a:b]) for r, s in pairs]) for a, b in ((0, 4), (4, 6))]
    np.testing.assert_allclose(found, wanted, rtol=1e-4)


def test_what_is_zero_is_left_out_and_what_is_infinite_does_not_count():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x):
            y = self.fc(x)
            return torch.cat([y * 0.0, y], 1), torch.log(x.abs())

    data = [torch.randn(6, 4)]
    sim = sim_of(Odd(), data)
    noise = OutputNoise(sim, [data[0].masked_fill(data[0] > 1, 0.0)])
    assert noise.layers == ("fc", "log")
    assert np.isfinite(noise(sim)).all()


def test_outputs_without_floating_point_numbers_are_refused():
    class Classes(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x):
            return self.fc(x).argmax(1)

    data = [torch.randn(6, 4)]
    with pytest.raises(InputError, match="floating-point"):
        OutputNoise(sim_of(Classes(), data), data)


def test_progress_of_each_pass_may_cancel():
    data = [torch.randn(6, 4) for _ in range(3)]
    sim = sim_of(nn.Sequential(nn.Linear(4, 2)), data)
    said = []
    noise = OutputNoise(sim, data, lambda *p: said.append(p[:2]))
    assert said == [(1, 3), (2, 3), (3, 3)]

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        noise(sim, stop)
    assert noise.passes == 1
