"""Remedies make runs whose names say what was done, and replace none."""

from qnb.workflow.diagnosis.cause import CAUSES, Suspicion
from qnb.workflow.diagnosis.proof import Proven
from qnb.workflow.diagnosis.remedies import Remedies
from qnb.workflow.diagnosis.run_names import named_apart
from tests.flows import new_flow


def names(flow, run, remedies) -> list[str]:
    """What the code of these remedies makes, run one after the other."""
    cause = CAUSES["outlier_channels"]
    found = named_apart(flow, run, [Proven(cause, Suspicion("", (), "", (way,)), way, 2.0) for way in remedies])
    return [eval(p.remedy.code, {"flow": flow}).name for p in found]


def test_names_say_what_was_done_and_no_run_is_replaced():
    flow = new_flow()
    run = flow.run("w8a8")
    make = Remedies(flow, run, flow.calibration)
    layers = [group.layer for group in run.sim.groups]
    first = [
        make.wider(layers[:1], 0.5),
        make.wider(layers[1:2], 0.5),
        make.wider(layers[:2], 0.5, weights=True),
        make.ranges("percentile", 0.5),
        make.ranges("mse", 0.5, layers[:1]),
        make.leave_out([0], 0.5),
        make.wider(layers[1:2], 0.4),
    ]
    end = layers[1].split(".")[-1]
    made = names(flow, "w8a8", first)
    assert made == [
        "w8a8+1",
        f"w8a8+{end} wider",
        "w8a8+2",
        "w8a8+percentile",
        f"w8a8+{layers[0].split('.')[-1]} mse",
        "w8a8 without 1",
        *made[6:],
    ]
    again = names(flow, "w8a8", first)
    assert len({*made, *again}) == 2 * len(first) and {"fp32", "w8a8", *made, *again} == {*flow.runs}


def test_a_name_that_would_be_too_long_is_a_shorter_one():
    flow = new_flow()
    long = "w8a8 " + "x" * 90
    run = flow.run("w8a8", name=long)
    flow.run("w8a8", layers={run.sim.groups[0].layer: "w8a16"})
    way = Remedies(flow, run, flow.calibration).wider([group.layer for group in run.sim.groups], 0.5)
    flow.runs = flow.runs | {way.run["precision"] + f"+{len(way.run['layers'])}": run}
    (made,) = named_apart(flow, long, [Proven(CAUSES["coarse_output"], Suspicion("", (), ""), way, 2.0)])
    assert len(made.remedy.run["name"]) <= 100 and made.remedy.run["name"] not in flow.runs
