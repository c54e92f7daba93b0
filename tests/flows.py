"""Small workflows that many tests read; whoever changes one makes its own."""

import math
from dataclasses import replace

import pandas as pd
import pytest
import torch

import qnb
from qnb.measures.metrics.score import Drop
from qnb.runtimes import Latency, differences, wiring
from qnb.workflow.deployment.performance import Performance
from qnb.workflow.deployment.result import Deployment, RuntimeResult

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
    frame = pd.DataFrame(
        [("stem.conv", "conv2d", db), ("classifier", "linear", db), ("output", "output", db)],
        columns=["layer", "op", "sqnr_db"],
    )
    steps = 1.0 if db > 20 else 90.0
    frame = frame.assign(equal_fraction=0.9, within_one_fraction=1.0, max_steps=steps, top1_agreement=1.0, numel=10)
    score = flow["fp32"].score
    found = RuntimeResult(
        runtime,
        {"htp": "HTP v75 (sm8650, emulated)", "onnxruntime": "ONNX Runtime, CPU"}[runtime],
        fidelity=frame,
        score=qnb.Score(score.value - drop),
        drop=Drop(drop, math.nan, math.nan, False, None),
        placement={"HTP": 3},
        latency=Latency(1.0, 0.9, 1.2, 30, None, runtime),
        differences=differences.find(frame, wiring.in_a_row(["stem.conv", "classifier"], 1, 8)),
    )
    found = replace(found, status="disagrees" if found.disagreement else "completed")
    files = pd.DataFrame([(f"{name}.onnx", "ONNX", 49_000)], columns=["file", "what", "size_bytes"])
    made = Deployment(
        name,
        flow[name].precision,
        "htp-v75",
        "sm8650",
        "out",
        files,
        (replace(found, **changes),),
        "qairt-converter",
        score,
    )
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


class Twofold(torch.nn.Module):
    """A dict of outputs, a batch norm to fold, two linear layers that equalization can balance."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8)
        self.body, self.head = torch.nn.Linear(8, 12), torch.nn.Linear(12, 4)

    def forward(self, x):
        hidden = torch.relu(self.norm(self.stem(x))).mean((2, 3))
        return {"logits": self.head(torch.relu(self.body(hidden))), "hidden": hidden}


def twofold(seed=0):
    """(model, batches, evaluate) of `Twofold`; equal for equal seeds."""
    torch.manual_seed(seed)
    model, batches = Twofold(), [torch.randn(16, 3, 6, 6) for _ in range(2)]
    with torch.no_grad():
        for x in batches:
            model(x)
        model.eval()  # an untrained net favours one class: take its mean answer away
        model.head.bias -= model(torch.cat(batches))["logits"].mean(0)
        labelled = [(x, model(x)["logits"].argmax(1)) for x in batches]
    return model, batches, qnb.accuracy(labelled)


def bits_of_weights(layers):
    """A cost of one's own."""
    return layers.weight_bits.fillna(0) * layers.weight_numel + 1


OWN_TARGET = replace(
    qnb.targets.get("generic"),
    name="my-chip",
    description="of my own",
    simulate_bias=True,
    fixed_ranges={"tanh": (-1.0, 1.0)},
    notes={"*": "as it says"},
)


def full_flow():
    """A workflow that holds a result of every kind; small enough for a second or two."""
    model, batches, evaluate = twofold()
    flow = qnb.Workflow(model, batches, evaluate, tolerance=0.02, target=OWN_TARGET)
    flow.check()
    flow.run("fp16")
    flow.run("w8a8")
    flow.run("w2a4", name="low", calibration_method="percentile", percentile=99.5, layers={"head": "w8a8"})
    flow.recover("low", ["equalize", "adaround"], iterations=8)
    flow.recover("low+equalize+adaround", "auto", name="low+auto", train=False, mixed_precision=False)
    flow.search_mixed_precision("low", candidates=["w8a8", "w2a4"], cost=bits_of_weights, verify=2).choose(1)
    flow.sensitivity("w8a8")
    flow.sensitivity("low", "sqnr")
    flow.diagnose("low")
    flow.attribute("low")
    flow.calibration_curve("low")
    flow.pareto_fronts["low"].keep(1)
    deployment(
        flow,
        "w8a8",
        exact=pd.DataFrame({"layer": ["output"], "op": ["output"], "equal_fraction": [1.0]}),
        fallback_nodes=("a",),
        note="No latency.",
    )
    flow.performance = {
        "fp32": Performance(400, Latency(0.5, 0.4, 0.6, 30, 1, "onnxruntime")),
        "w8a8": Performance(100, note="why not"),
    }
    flow.recover("low", "correct_bias", name="proposed", keep=False)
    return flow


@pytest.fixture(scope="session")
def full():
    """`full_flow`, to read only."""
    return full_flow()
