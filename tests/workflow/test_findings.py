"""flow.advice(): findings from a run's own numbers, each with evidence, technique and code that runs."""

import math

import pytest
import torch
from torch import nn

import qnb
from qnb.errors import InputError
from qnb.measures.halves import halves
from qnb.numerics import Grid, Precision
from tests.flows import new_flow

PER_TENSOR = Precision(weights=Grid(8, symmetric=True), activations=Grid(8))


def flow_of(model, batches, precision="w8a8", **arguments):
    flow = qnb.Workflow(model.eval(), batches, lambda m: -float((m(batches[0]) - model(batches[0])).square().mean()),
                        target="generic", tolerance=1e-9)  # fmt: skip
    flow.run(precision, **arguments)
    return flow


def unlike_channels(scale=200.0):
    """The second layer undoes what the first one scales: FP32 does not notice."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    factor = torch.ones(16)
    factor[3] = scale
    with torch.no_grad():
        model[0].weight.mul_(factor[:, None])
        model[0].bias.mul_(factor)
        model[2].weight.div_(factor)
    return model, [torch.randn(64, 8) for _ in range(2)]


def by_what(findings, word):
    return [f for f in findings if word in f.what]


def test_w4a8_on_digits_is_weight_sensitive():
    flow = new_flow()
    flow.run("w4a8")
    found = flow.advice()
    first = next(iter(found))
    assert first.what == "The weights are sensitive" and first.code == 'flow.recover("w4a8", "adaround")'
    assert "weights alone leave 1" in first.evidence and found.run == "w4a8" and found.state == "fail"
    assert list(found.table.columns) == ["what", "evidence", "technique", "code"] and len(found.table) == len(found)
    assert first.code in repr(found) and "weights alone" in found._repr_html_()


def test_w8a4_is_activation_sensitive_and_gets_another_range_rule():
    flow = new_flow()
    flow.run("w8a4")
    first = next(iter(flow.advice("w8a4")))
    assert first.what == "The activations are sensitive" and first.code == 'flow.run("w8a4", method="mse")'


def test_the_halves_are_those_of_sims_with_one_kind_switched_off():
    flow = new_flow()
    sim = flow.run("w4a8").sim
    found, _ = halves(sim, flow.calibration)
    alone = sim.copy().disable(kind="activation").disable(kind="input")
    expected = qnb.compare_layers(alone, flow.calibration).sqnr_db.iloc[-1]
    assert math.isclose(found["weight"], expected, abs_tol=1e-6) and sim.calibrated


def test_channels_of_unlike_range_are_seen_with_their_ratio():
    model, batches = unlike_channels()
    found = flow_of(model, batches, PER_TENSOR, name="r").advice("r")
    weights = by_what(found, "Unlike channels")
    assert weights and "times the median" in weights[0].evidence and 'recover("r", "equalize")' in weights[0].code
    outliers = by_what(found, "Outlier channels in '0'")
    assert outliers and int(outliers[0].evidence.split("reaches ")[1].split()[0]) > 50


def test_alike_channels_are_no_finding():
    model, batches = unlike_channels(1.0)
    found = flow_of(model, batches, PER_TENSOR, name="r").advice("r")
    assert not by_what(found, "Unlike channels") and not by_what(found, "Outlier channels")


def test_a_layer_that_saturates_is_named():
    model, batches = unlike_channels(1.0)
    flow = flow_of(model, batches, "w8a8", method="percentile", percentile=90)
    found = by_what(flow.advice(), "saturates")
    assert found and "lie beyond its range" in found[0].evidence and '"minmax"' in found[0].code


def test_where_the_error_appears():
    model, batches = unlike_channels(1.0)
    flow = flow_of(model, batches, "w16a16", layers={"2": "w3a16"})
    found = by_what(flow.advice(), "appears at '2'")
    assert found and "before it" in found[0].evidence
    assert by_what(flow.advice(), "A few layers lose far more") or len(flow["w16a16+1"].comparison) < 3


def test_nothing_stands_out():
    model, batches = unlike_channels(1.0)
    flow = flow_of(model, batches, "fp16")
    assert "Nothing stands out" in repr(flow.advice("fp16")) or len(flow.advice("fp16")) <= 1


def test_what_cannot_be_asked_is_said():
    flow = new_flow()
    with pytest.raises(InputError, match="no run yet"):
        flow.advice()
    flow.run("w8a8")
    with pytest.raises(InputError, match="lost nothing"):
        flow.advice("fp32")


@pytest.mark.slow
def test_the_code_of_every_finding_runs():
    flow = new_flow()
    flow.run("w4a8")
    flow.run("w8a4")
    for run in ("w4a8", "w8a4"):
        for finding in flow.advice(run):
            eval(finding.code, {"flow": flow})
