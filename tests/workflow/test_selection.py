"""One selection for all: what is wrong is named, what changes is told once."""

import pytest

from qnb.errors import InputError
from tests.flows import new_flow


@pytest.fixture(scope="module")
def flow():
    flow = new_flow()
    flow.run("w8a8")
    flow.run("w4a8")
    return flow


@pytest.fixture(autouse=True)
def _nothing_selected(request):
    if "flow" in request.fixturenames:
        request.getfixturevalue("flow").selection.set(run=None, compared_to=None, layers=())


def test_it_is_read_and_set(flow):
    flow.selection.run = "w4a8"
    flow.selection.layer = "stem.conv"
    flow.selection.compared_to = "w8a8"
    assert repr(flow.selection) == "Selection(run='w4a8', compared_to='w8a8', layers=['stem.conv'])"
    flow.selection.layers = ["classifier", "stem.conv"]
    assert flow.selection.layer == "classifier"
    flow.selection.run = "w8a8"
    assert flow.selection.layers == ("classifier", "stem.conv"), "the same layers in another run"


def test_listeners_hear_each_change_once(flow):
    heard = []
    end = flow.selection.changed.connect(lambda: heard.append(repr(flow.selection)))
    flow.selection.set(run="w4a8", layers="stem.conv")
    flow.selection.set(run="w4a8", layers="stem.conv")
    end()
    flow.selection.layer = None
    assert len(heard) == 1 and "stem.conv" in heard[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"run": "w2a2"}, "no run 'w2a2'"),
        ({"run": "w4a8", "layers": "stem.con"}, "no layer matches 'stem.con'.*Did you mean 'stem.conv'"),
        ({"layers": "stem.conv"}, "without a run"),
        ({"run": "fp32", "layers": "stem.conv"}, "without a run that has layers"),
        ({"run": "w4a8", "compared_to": "nothing"}, "no run 'nothing'"),
        ({"run": "w4a8", "against": None}, "unknown option against=None.*takes run, compared_to, layers"),
    ],
)
def test_what_is_not_there_is_refused_and_nothing_changes(flow, change, message):
    with pytest.raises(InputError, match=message):
        flow.selection.set(**change)
    assert flow.selection.run is None and flow.selection.layers == ()


def test_globs_are_not_names(flow):
    flow.selection.run = "w4a8"
    flow.selection.layers = ("stem.conv", "stem.conv")
    assert flow.selection.layers == ("stem.conv",)
