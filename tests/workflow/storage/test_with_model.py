"""qnb.load(path, model=, calibration=, evaluate=) goes on with the same model, or says how the given one differs."""

import copy
from dataclasses import dataclass

import pytest
import torch
from torch import nn

import qnb
from qnb.errors import FileError, InputError
from qnb.workflow.storage.same_model import close
from tests.flows import Twofold, twofold


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    model, batches, evaluate = twofold()
    flow = qnb.Workflow(model, batches, evaluate, tolerance=0.05)
    flow.run("w8a8")
    path = tmp_path_factory.mktemp("saved") / "x.qnb"
    flow.save(path)
    return path, flow


def load(path, model=None, calibration=None, evaluate=None):
    own = twofold()
    given = zip((model, calibration, evaluate), own, strict=True)
    return qnb.load(
        path, **dict(zip(("model", "calibration", "evaluate"), (o if g is None else g for g, o in given), strict=True))
    )


def test_the_same_model_goes_on(saved):
    path, flow = saved
    loaded = load(path)
    assert repr(loaded) == repr(flow) and loaded.model is not None
    before, after = flow.run("w4a8"), loaded.run("w4a8")
    assert after.score == before.score and after.comparison.equals(before.comparison)
    assert after.settings == before.settings and loaded.next_steps() == flow.next_steps()
    assert loaded["w8a8"].sim.captured is loaded.captured is after.sim.captured


def test_another_model_is_refused_and_its_layers_are_named(saved):
    other, _, _ = twofold(seed=1)
    with pytest.raises(InputError, match="the weights of 3 of 3 layers differ, 'stem' first.*leave model, calibration"):
        load(saved[0], other)


def test_one_layer_that_was_trained_further_is_named(saved):
    other, _, _ = twofold()
    with torch.no_grad():
        other.head.weight[0, 0] += 0.01
    with pytest.raises(InputError, match="the weights of 1 of 3 layers differ, 'head' first"):
        load(saved[0], other)


class WithoutRelu(Twofold):
    def forward(self, x):
        hidden = torch.tanh(self.norm(self.stem(x))).mean((2, 3))
        return {"logits": self.head(torch.relu(self.body(hidden))), "hidden": hidden}


class OtherOutput(Twofold):
    def forward(self, x):
        return super().forward(x)["logits"]


class Longer(Twofold):
    def forward(self, x):
        found = super().forward(x)
        return found | {"hidden": found["hidden"] * 2}


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (WithoutRelu, "structure differs at 'tanh'.*where the file has 'relu'"),
        (OtherOutput, "output is nested"),
        (Longer, "structure differs at 'mul'|operations"),
    ],
)
def test_another_structure_is_refused(saved, kind, says):
    torch.manual_seed(0)
    other = kind()
    other.load_state_dict(twofold()[0].state_dict())
    with pytest.raises(InputError, match=says):
        load(saved[0], other.eval())


def test_other_inputs_are_refused(saved):
    with pytest.raises(InputError, match="inputs|takes"):
        load(saved[0], nn.Linear(6, 2).eval())
    with pytest.raises(InputError, match="model.eval"):
        load(saved[0], twofold()[0].train())
    with pytest.raises(InputError, match="only some"):
        qnb.load(saved[0], model=twofold()[0])


def test_rounding_is_no_difference():
    a = torch.tensor([1000.0, 1e-3, 0.0])
    assert close(a, a + torch.tensor([0.05, 0.01, -0.01])) and not close(a, a + torch.tensor([0.2, 0.0, 0.0]))
    assert close(torch.zeros(3), torch.zeros(3)) and not close(torch.zeros(3), torch.full((3,), 1e-9))
    assert close(torch.tensor([1, 2]), torch.tensor([1, 2])) and not close(torch.tensor([1, 2]), torch.tensor([1, 3]))
    nan = torch.tensor([torch.nan, -torch.inf, 1.0])
    assert close(nan, nan.clone()) and not close(a, a.double()) and not close(a, a[:2])


def test_the_same_model_on_another_processor(saved):
    """Batch norms folded in another order: all weights differ in their last bits."""
    other, _, _ = twofold()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1 + 1e-6)
    loaded = load(saved[0], other)
    assert loaded["w8a8"].score == saved[1]["w8a8"].score


@dataclass
class Output:
    logits: torch.Tensor


class Typed(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, x, scale=None):
        y = self.fc(x)
        return Output(y if scale is None else y * scale)


def test_outputs_are_of_the_users_class_again(tmp_path):
    torch.manual_seed(0)
    model, data = Typed().eval(), [{"x": torch.randn(8, 4)} for _ in range(2)]
    flow = qnb.Workflow(model, data, lambda m: float(m(**data[0]).logits.mean()))
    flow.run("w8a8")
    flow.save(tmp_path / "x.qnb")
    looked_at = qnb.load(tmp_path / "x.qnb")
    loaded = qnb.load(tmp_path / "x.qnb", model=model, calibration=data, evaluate=flow.evaluate)
    assert type(looked_at["w8a8"].sim(**data[0])) is not Output
    assert type(loaded["w8a8"].sim(**data[0])) is Output and type(loaded.captured.unflatten([data[0]["x"]])) is Output
    assert loaded.run("w4a8").score == flow.run("w4a8").score


class TestHowItWasCaptured:
    """By an example of another size, by keywords, with sizes that may not vary: the given model is captured alike."""

    @pytest.mark.parametrize(
        "arguments",
        [
            {"example_inputs": torch.zeros(2, 3, 6, 6)},
            {"example_inputs": {"x": torch.zeros(5, 3, 6, 6)}},
            {"dynamic_shapes": ({0: torch.export.Dim("batch", max=64)},)},
            {"example_inputs": torch.zeros(1, 3, 6, 6)},
        ],
        ids=["another size", "by keyword", "only the batch varies", "one sample"],
    )
    def test_it_goes_on(self, arguments, tmp_path):
        model, batches, evaluate = twofold()
        flow = qnb.Workflow(model, batches, evaluate, **arguments)
        flow.run("w8a8")
        flow.save(tmp_path / "x.qnb")
        loaded = load(tmp_path / "x.qnb")
        assert repr(loaded["w8a8"]) == repr(flow["w8a8"]) and [*map(str, loaded.captured.inputs)] == [
            *map(str, flow.captured.inputs)
        ]
        assert loaded.run("w4a8").cost.equals(flow.run("w4a8").cost)


def test_other_calibration_data_is_said_until_the_runs_are_made_anew(saved, tmp_path):
    path, flow = saved
    _, batches, _ = twofold()
    loaded = load(path, calibration=batches[::-1])
    assert (
        "calibration data is not that of w8a8: other samples" in repr(loaded) and "not that of" in loaded._repr_html_()
    )
    assert "not that of" not in repr(load(path)) and "not that of" not in repr(flow)
    loaded.run("fp32")
    loaded.run("w8a8")
    assert "not that of" not in repr(loaded)
    loaded.report(tmp_path / "x.html", interactive=False)


def test_a_range_rule_that_is_not_there_is_a_damaged_file(saved, tmp_path):
    import json
    import zipfile

    with zipfile.ZipFile(saved[0]) as old, zipfile.ZipFile(tmp_path / "x.qnb", "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "workflow.json":
                data = json.dumps(json.loads(data) | {"calibration_method": "entropy"})
            new.writestr(name, data)
    assert qnb.load(tmp_path / "x.qnb").calibration_method == "entropy"
    with pytest.raises(FileError, match="calibration method 'entropy'"):
        load(tmp_path / "x.qnb")


def test_the_given_model_is_not_changed(saved):
    model, _, _ = twofold()
    before = copy.deepcopy(model.state_dict())
    load(saved[0], model)
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values(), strict=True))
