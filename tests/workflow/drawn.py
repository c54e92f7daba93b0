"""Workflows drawn at random from all that there can be; none was computed."""

from dataclasses import replace

from qnb import targets
from qnb.columns import CONTROL
from qnb.workflow.precisions import LADDER
from qnb.workflow.verdict import UNCLEAR
from tests.workflow.stubs import CLOSE, NO_N, PAIRED, SEPARATE, STATES, deployed, stub_flow, stub_run

TRICKY = ('w8a8 "quoted"', "w4a8\\n{flow}", "\U0001f600 run", "it's {0}", "FP16", "w8a8 2")
CUSTOM = "custom(weights=int4 block 32, activations=fp32)"
MORE = ("w4a16", "w6a8", "w2a4", "w16a8", "bf16", "fp8_e4m3", CUSTOM, *LADDER)
SIXTEEN = replace(targets.get("htp-v75"), precisions=("fp32", "w16a16"))
"""A target that runs nothing lower."""


def drawn_flow(draw):
    """A ladder with recoveries, mixes, other precisions, named runs, deployments; from a file, with a failed check, a
    proposal. ``draw``: a generator of random numbers."""
    runs = [drawn_run(draw, name, draw.choice(STATES)) for name in LADDER if draw.random() < 0.75]
    for precision in draw.choices(MORE, k=draw.choice([0, 0, 1, 3])):
        name, layers = draw.choice([precision, f"{precision}+1", *TRICKY]), draw.choice([{}, {"head": "w8a16"}])
        runs.append(drawn_run(draw, name, draw.choice(STATES), precision=precision, layers=layers))
    for base in draw.choices(runs, k=draw.choice([0, 1, 2])) if runs else ():
        how = draw.choice(["auto", "adaround", "mixed_precision", "train"])
        done = {} if how == "auto" else {"recover": [{"method": how, "options": {}}]}
        tried = draw.choice(["equalize + adaround", "mixed_precision + train"])
        runs.append(
            drawn_run(
                draw,
                f"{base.name}+{how}",
                draw.choice(STATES),
                precision=base.precision,
                base=base.name,
                auto=how == "auto",
                tried=tried,
                layers=base.settings.get("layers", {}),
                **done,
            )
        )
    flow = stub_flow(
        *runs,
        target=draw.choice(["htp-v75", "htp-v68", "generic", SIXTEEN]),
        checked=draw.choice(["pass"] * 5 + [None, "fail"]),
        model=draw.random() < 0.8,
    )
    for run in runs:
        if draw.random() < 0.3:
            deployed(flow, run.name, draw.choice(["agrees", "differs", "nowhere", "disagrees", "refused"]))
        if draw.random() < 0.2:
            flow.diagnoses = flow.diagnoses | {run.name: "causes"}
    if runs and draw.random() < 0.1:
        base = draw.choice(runs)
        flow.proposal = drawn_run(
            draw, f"{base.name}+seq_mse", draw.choice(STATES), precision=base.precision, base=base.name
        )
    return flow


def drawn_run(draw, name, state, **more):
    close = {"drop": draw.choice([None, CLOSE])} if state == UNCLEAR else {}
    more |= {"db": draw.choice([80.0, 31.0])} if name == CONTROL else {}
    overflow = ["stem.conv"] if name == "fp16" and draw.random() < 0.3 else ()
    return stub_run(
        name,
        state,
        samples=draw.choice([PAIRED, PAIRED, SEPARATE, NO_N]),
        overflow=overflow,
        calibration_method=draw.choice(["minmax", "minmax", "percentile"]),
        known=draw.random() < 0.9,
        **close,
        **more,
    )
