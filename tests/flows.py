"""Small workflows that many tests read; whoever changes one makes its own."""

import math
from dataclasses import replace

import pandas as pd
import pytest
import torch

import qnb
from qnb.measures.score import Drop
from qnb.runtimes import Latency
from qnb.workflow.deployment import Deployment, OnRuntime

EVIL = "<img src=x onerror=alert(1)>"


def evil_flow():
    """A workflow whose layer and run have a name that would be markup."""

    class Evil(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.add_module(EVIL, torch.nn.Linear(3, 2))

        def forward(self, x):
            return next(self.children())(x)

    x = torch.randn(4, 3)
    flow = qnb.Workflow(Evil().eval(), [x], lambda m: 1.0)
    flow.run("w8a8", name=EVIL)
    return flow


def new_flow(**arguments):
    demo = qnb.demo.digits()
    return qnb.Workflow(demo.model, demo.calibration[:2], demo.evaluate, **arguments)


def deployment(flow, name="w8a8", runtime="htp", db=35.0, drop=0.0, **changes):
    """A deployment as `Workflow.deploy` would make it, without the work; kept by the flow."""
    frame = pd.DataFrame([("stem.conv", "conv2d", db), ("classifier", "linear", db), ("output", "output", db)],
                         columns=["layer", "op", "sqnr_db"])  # fmt: skip
    frame = frame.assign(equal_fraction=0.9, within_one_fraction=1.0, max_steps=1.0, top1_agreement=1.0, numel=10)
    score = flow["fp32"].score
    found = OnRuntime(
        runtime, {"htp": "HTP v75 (sm8650, emulated)", "onnxruntime": "ONNX Runtime, CPU"}[runtime], fidelity=frame,
        score=qnb.Score(score.value - drop), drop=Drop(drop, math.nan, math.nan, False, None), placement={"HTP": 3},
        latency=Latency(1.0, 0.9, 1.2, 30, None, runtime),
    )  # fmt: skip
    files = pd.DataFrame([(f"{name}.onnx", "ONNX", 49_000)], columns=["file", "what", "size_bytes"])
    made = Deployment(name, flow[name].precision, "htp-v75", "sm8650", "out", files,
                      (replace(found, **changes),), "qairt-converter", score)  # fmt: skip
    flow.deployments = flow.deployments | {name: made}
    return made


@pytest.fixture
def fresh():
    """Nothing run yet."""
    return new_flow()


@pytest.fixture(scope="session")
def digits():
    """Checked, with w8a8 and w4a8: to read only."""
    flow = new_flow()
    flow.check()
    flow.run("w8a8")
    flow.run("w4a8")
    return flow
