"""flow.diagnose(): findings from a run's own numbers, each with evidence, remedy and code that runs."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

import qnb
from qnb.errors import InputError
from qnb.measures.layers.outliers import halves
from qnb.numerics import Grid, Precision
from tests.flows import new_flow

PER_TENSOR = Precision(weights=Grid(8, symmetric=True), activations=Grid(8))


def flow_of(model, batches, precision="w8a8", **arguments):
    flow = qnb.Workflow(
        model.eval(),
        batches,
        lambda m: -float((m(batches[0]) - model(batches[0])).square().mean()),
        target="generic",
        tolerance=1e-9,
    )
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
    return [f for f in findings if word in f.cause]


def test_w4a8_on_digits_is_weight_sensitive():
    flow = new_flow()
    flow.run("w4a8")
    found = flow.diagnose()
    first = next(iter(found))
    assert first.cause == "The weights are sensitive" and first.code == 'flow.recover("w4a8", "adaround")'
    assert "weights alone leave 1" in first.evidence and found.run == "w4a8" and found.status == "fail"
    assert list(found.table.columns) == ["cause", "evidence", "remedy", "code"] and len(found.table) == len(found)
    assert first.code in repr(found) and "weights alone" in found._repr_html_()


def test_w8a4_is_activation_sensitive_and_gets_another_range_rule():
    flow = new_flow()
    flow.run("w8a4")
    first = next(iter(flow.diagnose("w8a4")))
    assert first.cause == "The activations are sensitive" and first.code == 'flow.run("w8a4", calibration_method="mse")'


def test_the_halves_are_those_of_sims_with_one_kind_switched_off():
    flow = new_flow()
    sim = flow.run("w4a8").sim
    found, _ = halves(sim, flow.calibration)
    alone = sim.copy().disable(kind="activation").disable(kind="input")
    expected = qnb.compare_layers(alone, flow.calibration).sqnr_db.iloc[-1]
    assert math.isclose(found["weight"], expected, abs_tol=1e-6) and sim.calibrated


def test_channels_of_unlike_range_are_seen_with_their_ratio():
    model, batches = unlike_channels()
    found = flow_of(model, batches, PER_TENSOR, name="r").diagnose("r")
    weights = by_what(found, "Weight channels of different ranges")
    assert weights and "times the median" in weights[0].evidence and 'recover("r", "equalize")' in weights[0].code
    outliers = by_what(found, "Outlier channels in '0'")
    assert outliers and int(outliers[0].evidence.split("reaches ")[1].split()[0]) > 50


def test_alike_channels_are_no_finding():
    model, batches = unlike_channels(1.0)
    found = flow_of(model, batches, PER_TENSOR, name="r").diagnose("r")
    assert not by_what(found, "Weight channels of different ranges") and not by_what(found, "Outlier channels")


def test_a_layer_that_saturates_is_named():
    model, batches = unlike_channels(1.0)
    flow = flow_of(model, batches, "w8a8", calibration_method="percentile", percentile=90)
    found = by_what(flow.diagnose(), "saturates")
    assert found and "lie beyond its range" in found[0].evidence and '"minmax"' in found[0].code
    assert "which percentile chose smaller than the values seen in calibration" in found[0].evidence


class Louder(list):
    """Batches that are louder once the simulation was calibrated; `progress` sees when."""

    calibrated = False

    def __iter__(self):
        return iter([x * (3 if self.calibrated else 1) for x in list.__iter__(self)])

    def progress(self, done, total, message):
        self.calibrated |= message.startswith("calibrating") and done == total


def test_a_min_max_run_is_not_told_to_use_min_max():
    model, batches = unlike_channels(1.0)
    louder = Louder(batches)
    flow = qnb.Workflow(model.eval(), louder, lambda m: float(isinstance(m, qnb.QuantSim)) * -1, target="generic")
    flow.run("w8a8", progress=louder.progress)
    (found,) = by_what(flow.diagnose(), "saturates")
    assert "which calibration did not see" in found.evidence and "calibrate with data like this" in found.remedy
    assert "minmax" not in found.code and found.code.startswith("flow.layer('w8a8', ")


def saturating(flow, run, fraction=0.02):
    """What is said of a run of which a share of the first layer's values is clipped."""
    from qnb.workflow.guidance import rules

    frame = run.comparison.copy()
    frame.loc[0, "saturated_fraction"] = fraction
    return rules._saturated(rules.Case(flow, replace(run, comparison=frame), {}, None))


def test_saturation_that_the_layers_before_brought_is_said_to_be():
    model, batches = unlike_channels(1.0)
    flow = flow_of(model, batches)
    _, evidence, remedy, code = saturating(flow, flow["w8a8"])
    assert evidence.startswith("2 % of QuantSim's values") and "the error of earlier layers" in evidence
    assert remedy == "look at the layer's values" and code == "flow.layer('w8a8', '0')"
    assert saturating(flow, flow["w8a8"], 1.0)[1].startswith("100 % of QuantSim's values")


def test_a_range_that_the_target_fixes_is_not_blamed_on_a_rule():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(8, 8), nn.Tanh()).eval(), [torch.randn(64, 8)]
    target = replace(qnb.targets.get("generic"), name="narrow", fixed_ranges={"tanh": (-0.5, 0.5)})
    flow = qnb.Workflow(model, x, lambda m: float(isinstance(m, qnb.QuantSim)) * -1, target=target)
    flow.run("w8a8", calibration_method="mse")
    (found,) = by_what(flow.diagnose(), "saturates")
    assert "which narrow fixes at -0.5 to 0.5" in found.evidence and "minmax" not in found.code


def test_the_code_keeps_what_else_the_run_was_made_with():
    model, batches = unlike_channels(1.0)
    flow = flow_of(model, batches, "w8a8", calibration_method={"*": "percentile", "2": "sqnr"}, percentile=90, name="p")
    (found,) = by_what(flow.diagnose("p"), "saturates")
    assert '"*": "percentile", "2": "sqnr"' in found.code and "percentile=90" in found.code
    assert "which percentile chose smaller" in found.evidence
    eval(found.code, {"flow": flow})


def test_a_run_by_mse_is_not_told_to_use_mse():
    flow = new_flow()
    flow.run("w8a4", calibration_method="mse")
    first = next(iter(flow.diagnose("w8a4")))
    assert first.cause == "The activations are sensitive"
    assert first.code == 'flow.recover("w8a4", "mixed_precision")'


def test_what_was_done_is_not_advised_again(digits):
    from qnb.workflow.guidance import rules

    run, halves_db = digits["w4a8"], {"weight": 10.0, "activation": 30.0}
    rounded = replace(run, sim=run.sim.copy())
    assert rules._half(rules.Case(digits, run, halves_db, None))[3] == 'flow.recover("w4a8", "adaround")'
    rounded.sim.applied_methods = ("adaround",)
    assert rules._half(rules.Case(digits, rounded, halves_db, None))[3] == 'flow.recover("w4a8", "train")'


def test_dead_channels_are_no_measure_of_the_others():
    model, batches = unlike_channels(1.0)
    with torch.no_grad():
        model[0].weight[:9] = 0.0
        model[0].bias[:9] = 0.0
    found = flow_of(model, batches, PER_TENSOR, name="r").diagnose("r")
    assert not by_what(found, "Outlier channels") and not by_what(found, "Weight channels of different ranges")


def test_a_run_that_lost_nothing_has_no_complaints():
    model, batches = unlike_channels()
    flow = qnb.Workflow(model.eval(), batches, lambda m: 1.0, target="generic")
    flow.run(PER_TENSOR, name="r")
    assert len(flow.diagnose("r")) == 0 and "Nothing to do" in repr(flow.diagnose("r"))


def test_where_the_error_appears():
    model, batches = unlike_channels(1.0)
    flow = flow_of(model, batches, "w16a16", layers={"2": "w3a16"})
    found = by_what(flow.diagnose(), "begins at '2'")
    assert found and "before it" in found[0].evidence
    assert by_what(flow.diagnose(), "A few layers have far more error") or len(flow["w16a16+1"].comparison) < 3


def test_nothing_stands_out():
    model, batches = unlike_channels(1.0)
    flow = flow_of(model, batches, "fp16")
    assert "No single cause found" in repr(flow.diagnose("fp16")) or len(flow.diagnose("fp16")) <= 1


def test_what_cannot_be_asked_is_said():
    flow = new_flow()
    with pytest.raises(InputError, match="no run yet"):
        flow.diagnose()
    flow.run("w8a8")
    with pytest.raises(InputError, match="lost nothing"):
        flow.diagnose("fp32")


@pytest.mark.slow
def test_the_code_of_every_finding_runs():
    flow = new_flow()
    flow.run("w4a8")
    flow.run("w8a4")
    for run in ("w4a8", "w8a4"):
        for finding in flow.diagnose(run):
            eval(finding.code, {"flow": flow})
