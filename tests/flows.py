"""Small workflows that many tests read; whoever changes one makes its own."""

import pytest
import torch

import qnb

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
