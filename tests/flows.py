"""Small workflows that many tests read; whoever changes one makes its own."""

import pytest

import qnb


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
