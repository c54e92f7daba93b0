"""The parts of training against closed forms: learned step size, distillation, the schedule."""

import math

import pytest
import torch
import torch.nn.functional as F

from qnb.methods.training.distill import Distillation, class_scores, relative_error, soft_divergence
from qnb.methods.training.lsq import LearnedRange
from qnb.methods.training.schedule import learning_rate_factor
from qnb.numerics import Grid
from qnb.sim.quantizer import Quantizer


def quantizer(bits=4, symmetric=True, low=-1.0, high=1.0):
    found = Quantizer("x", Grid(bits, symmetric))
    found.set_range(torch.tensor(low), torch.tensor(high))
    return found


def backward(learned, x, upstream):
    learned.require_gradient()
    with torch.enable_grad():
        (learned.quantizer(x) * upstream).sum().backward()
    learned.take_gradient()


def test_the_scale_has_lsqs_gradient():
    """Esser et al. 2020, equation 3: round(v/s) - v/s inside (what rounds to a level of the grid), -Qn or Qp outside;
    times 1 / sqrt(N Qp)."""
    x, up = torch.randn(200) * 0.8, torch.randn(200)
    learned = LearnedRange(quantizer(), count=200)
    backward(learned, x, up)
    s = learned.quantizer.scale.detach()
    v = x / s
    slope = torch.where(v.round() < -8, -8.0, torch.where(v.round() > 7, 7.0, v.round() - v))
    expected = s * (slope * up).sum() / math.sqrt(200 * 7)
    torch.testing.assert_close(learned.theta.grad, expected)
    assert learned.quantizer.scale.grad is None and learned.phi is None


def test_the_zero_point_has_lsq_pluss_gradient():
    """Bhalgat et al. 2020, equation 6: the offset -s z has gradient 1 where the value is clipped, else 0."""
    x, up = torch.randn(200) * 0.8, torch.randn(200)
    learned = LearnedRange(quantizer(symmetric=False), count=200)
    backward(learned, x, up)
    s, z = (t.detach() for t in learned.quantizer.encoding())
    clipped = (torch.round(x / s) + z < 0) | (torch.round(x / s) + z > 15)
    offset_gradient = (up * clipped).sum()
    torch.testing.assert_close(learned.phi.grad, -s * offset_gradient * 15 / math.sqrt(200 * 15))


def test_zeros_are_the_encoding_itself_and_steps_are_relative():
    learned = LearnedRange(quantizer(symmetric=False, low=-0.3), count=8)
    scale, zero_point = (t.clone() for t in learned.quantizer.encoding())
    learned.write()
    assert torch.equal(learned.quantizer.scale, scale) and torch.equal(learned.quantizer.zero_point, zero_point)
    with torch.no_grad():
        learned.theta.fill_(0.1)
        learned.phi.fill_(0.25)
    learned.write()
    torch.testing.assert_close(learned.quantizer.scale, scale * math.exp(0.1))
    assert learned.quantizer.zero_point == round(float(zero_point) + 15 * 0.25)


def test_scales_stay_positive_and_zero_points_on_the_grid():
    learned = LearnedRange(quantizer(symmetric=False), count=8)
    for theta, phi in ((-200.0, 9.0), (0.0, -9.0)):
        with torch.no_grad():
            learned.theta.fill_(theta)
            learned.phi.fill_(phi)
        learned.write()
        assert learned.quantizer.scale > 0 and learned.quantizer.zero_point == (15 if phi > 0 else 0)
        assert abs(learned.phi) <= 1  # it comes back at once


def test_a_range_that_begins_at_zero_learns_no_offset():
    assert LearnedRange(quantizer(symmetric=False, low=0.0), count=8).phi is None
    assert LearnedRange(quantizer(symmetric=False), count=8, offset=False).phi is None


@pytest.mark.parametrize("symmetric", [True, False])
def test_learning_finds_the_best_range_of_a_normal_variable(symmetric):
    """Against a search over all scales; it starts from a range three times too wide."""
    x = torch.randn(4000)
    q = quantizer(4, symmetric, -9.0, 9.0)
    learned = LearnedRange(q, count=4000)
    learned.require_gradient()
    adam = torch.optim.Adam(learned.parameters(), lr=0.02)
    for _ in range(300):
        with torch.enable_grad():
            F.mse_loss(q(x), x).backward()
        learned.take_gradient()
        adam.step()
        learned.write()

    def error(scale):
        other = Quantizer("y", q.grid)
        other.set_encoding(torch.tensor(scale), torch.tensor(0.0 if symmetric else 7.0))
        with torch.no_grad():
            return float(F.mse_loss(other(x), x))

    best = min(error(0.1 + 0.005 * i) for i in range(200))
    with torch.no_grad():
        assert float(F.mse_loss(q(x), x)) < 1.03 * best


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_divergence_of_class_scores(temperature):
    logits, target = torch.randn(5, 7), torch.randn(5, 7)
    p, q = (torch.softmax(x / temperature, -1) for x in (target, logits))
    expected = temperature**2 * (p * (p / q).log()).sum(-1).mean()
    torch.testing.assert_close(soft_divergence(logits, target, temperature), expected)
    words = soft_divergence(logits.expand(3, 5, 7), target.expand(3, 5, 7), temperature)
    torch.testing.assert_close(words, expected)
    logits = target.clone().requires_grad_()
    soft_divergence(logits, target, temperature).backward()
    torch.testing.assert_close(logits.grad, torch.zeros(5, 7))


def test_the_gradient_keeps_its_size_at_any_temperature():
    """Hinton et al. 2015: for high temperatures it tends to (z - v) / classes per sample, of centred scores."""
    z, v = torch.randn(1, 5, requires_grad=True), torch.randn(1, 5)
    soft_divergence(z, v, 1e3).backward()
    centred = (z - z.mean()) - (v - v.mean())
    torch.testing.assert_close(z.grad, (centred / 5).detach(), rtol=1e-2, atol=1e-3)


def test_relative_error_is_one_over_the_sqnr():
    from qnb.measures.layers.error import sqnr_db

    y, t = torch.randn(50), torch.randn(50)
    expected = sqnr_db(float(t.square().sum()), float((y - t).square().sum()))
    assert math.isclose(-10 * math.log10(relative_error(y, t)), expected, rel_tol=1e-4)
    assert relative_error(torch.zeros(3), torch.zeros(3)) == 0


def test_which_outputs_are_class_scores():
    images, classes, ids = torch.randn(2, 3, 4, 4), torch.randn(2, 5), torch.zeros(2, dtype=torch.long)
    assert class_scores(["output"], [classes]) == [True]
    assert class_scores(["output"], [classes.softmax(-1)]) == [False]
    assert class_scores(["output"], [images]) == [False]
    assert class_scores(["pooled", "hidden"], [classes, images]) == [False, False]
    assert class_scores(["logits", "hidden", "ids"], [torch.randn(2, 4, 5), images, ids]) == [True, False, False]
    assert class_scores(["output"], [torch.randn(4, 1)]) == [False]


def test_distillation_is_the_sum_over_outputs_of_floats():
    logits, hidden, ids = torch.randn(2, 5), torch.randn(2, 3), torch.zeros(2, dtype=torch.long)
    loss = Distillation(["logits", "hidden", "ids"], [logits, hidden, ids], temperature=2.0)
    value = loss([logits + 1, hidden * 1.1, ids], [logits, hidden, ids])
    torch.testing.assert_close(value, torch.tensor(0.01), rtol=1e-3, atol=1e-6)  # scores shift freely


def test_the_cosine_is_torchs():
    parameter = torch.nn.Parameter(torch.zeros(1))
    sgd = torch.optim.SGD([parameter], lr=1.0)
    torchs = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, T_max=10)
    for step in range(10):
        assert math.isclose(learning_rate_factor(step, 10), sgd.param_groups[0]["lr"], abs_tol=1e-9)
        sgd.step()
        torchs.step()


def test_warmup_rises_evenly_then_the_schedule_begins():
    factors = [learning_rate_factor(step, 8, "linear", warmup=4) for step in range(8)]
    assert factors == [0.25, 0.5, 0.75, 1.0, 1.0, 0.75, 0.5, 0.25]
    assert learning_rate_factor(7, 8, "constant") == 1.0
