"""What the commands name is there: samples as raw files, their list, expected outputs; tried with stand-ins."""

import json
import os

import numpy as np
import pytest
import torch
from torch import nn

import qnb
from qnb.errors import Cancelled, FileError, InputError
from qnb.workflow.deployment import deploy, on_runtime
from qnb.workflow.deployment.result import MISSING, RuntimeResult
from tests.flows import new_flow
from tests.workflow.stand_ins import run_commands

CPU = {"runtimes": "onnxruntime", "evaluate": False}


@pytest.fixture(autouse=True)
def no_export(request, monkeypatch):
    """Exporting and running take long and are tested elsewhere: but for one test, ONNX files are empty here."""
    if request.node.name.startswith("test_real_files"):
        return
    monkeypatch.setattr(deploy, "export_onnx", lambda sim, path, **_: path.write_bytes(b""))
    monkeypatch.setattr(
        on_runtime,
        "run",
        lambda flow, wanted, name, stage, files, report: (
            report(0, None, "starting") or RuntimeResult(name, name, MISSING)
        ),
    )


class Several(nn.Module):
    """Three inputs of three types, two outputs, one of which is integers."""

    def __init__(self):
        super().__init__()
        self.embedding, self.dense = nn.Embedding(50, 6), nn.Linear(6, 5)

    def forward(self, ids, features, mask):
        x = self.embedding(ids) + features[:, None]
        scores = self.dense(torch.where(mask[:, :, None], x, 0.0)).mean(1)
        return {"scores": scores, "class": scores.argmax(1)}


def several_flow(**arguments):
    torch.manual_seed(0)
    batches = [
        {"ids": torch.randint(0, 50, (4, 7)), "features": torch.randn(4, 6), "mask": torch.rand(4, 7) > 0.2}
        for _ in range(2)
    ]
    flow = qnb.Workflow(Several().eval(), batches, lambda m: float(m(**batches[0])["scores"].mean()), **arguments)
    return flow, batches


@pytest.fixture(scope="module")
def digits_runs():
    flow = new_flow()
    for precision in ("fp16", "w8a8"):
        flow.run(precision)
    return flow


@pytest.fixture(scope="module")
def several_runs():
    flow, batches = several_flow()
    for precision in ("w8a16", "fp16"):
        flow.run(precision)
    return flow, batches


DIGITS = {"shapes": {"x": "1,1,8,8"}, "inputs": {"x": 4 * 64}, "outputs": {"output.raw": 4 * 10}}
DIGITS_CODES = DIGITS | {"inputs": {"x": 64}, "outputs": {"output_native.raw": 10}, "native": True}
SHAPES = {"ids": "1,7", "features": "1,6", "mask": "1,7"}
SEVERAL = {
    "shapes": SHAPES,
    "inputs": {"ids": 4 * 7, "features": 4 * 6, "mask": 4 * 7},
    "outputs": {"scores.raw": 4 * 5, "class.raw": 4},
}
SEVERAL_CODES = {
    "shapes": SHAPES,
    "inputs": {"ids": 4 * 7, "features": 2 * 6, "mask": 7},
    "native": True,
    "outputs": {"scores_native.raw": 2 * 5, "class_native.raw": 4},
}


@pytest.mark.parametrize(
    ("run", "integer_io", "needs"),
    [("w8a8", False, DIGITS), ("w8a8", True, DIGITS_CODES), ("fp16", False, DIGITS), ("fp32", False, DIGITS)],
    ids=["floats", "codes", "fp16", "fp32"],
)
def test_the_commands_find_all_that_they_name(digits_runs, tmp_path, run, integer_io, needs):
    digits_runs.deploy(run, tmp_path / "out", integer_io=integer_io, **CPU)
    _check_run(tmp_path / "out", run, tmp_path, needs)


def test_real_files_fit_the_commands(digits_runs, tmp_path):
    found = digits_runs.deploy("w8a8", tmp_path / "out", **CPU)
    _check_run(tmp_path / "out", "w8a8", tmp_path, DIGITS)
    assert found["onnxruntime"].status == "completed"


@pytest.mark.parametrize(
    ("run", "integer_io", "needs"),
    [("w8a16", False, SEVERAL), ("w8a16", True, SEVERAL_CODES), ("fp16", False, SEVERAL)],
    ids=["floats", "codes", "fp16"],
)
def test_several_inputs_are_named_in_the_list(several_runs, tmp_path, run, integer_io, needs):
    several_runs[0].deploy(run, tmp_path / "out", integer_io=integer_io, samples=3, **CPU)
    _check_run(tmp_path / "out", run, tmp_path, needs, lines=3)
    lines = (tmp_path / "out" / "inputs" / run / "input_list.txt").read_text().splitlines()
    assert lines[1] == " ".join(f"{name}:=inputs/{run}/1-{name}.raw" for name in ("ids", "features", "mask"))


def _check_run(out, run, tmp_path, needs, lines=4):
    called = run_commands(out, tmp_path / "around", **needs)
    assert [c[0] for c in called] == [
        "qairt-converter",
        "qnn-context-binary-generator",
        *["adb"] * 5,
        "qnn-net-run",
        "adb",
    ]
    answered, expected = (
        {p.relative_to(folder).as_posix(): p.stat().st_size for p in folder.rglob("*.raw")}
        for folder in (out / f"{run}-output", out / "expected" / run)
    )
    assert expected == answered and len(expected) == lines * len(needs["outputs"])


def read(folder, name, number=0):
    """A raw file by what the contents say of it."""
    tensor = next(t for t in json.loads((folder / "tensors.json").read_text())["tensors"] if t["name"] == name)
    (path,) = [*folder.glob(f"{number}-{name}.raw"), *folder.glob(f"Result_{number}/{name}*.raw")]
    return torch.from_numpy(np.fromfile(path, tensor["dtype"]).reshape(tensor["shape"]).astype(np.float64))


def test_the_files_hold_the_samples_and_the_simulations_answers(digits_runs, tmp_path):
    digits_runs.deploy("w8a8", tmp_path, **CPU)
    samples, sim = digits_runs.calibration[0][:4], digits_runs["w8a8"].sim
    for number in range(4):
        sample = samples[number : number + 1]
        assert torch.equal(read(tmp_path / "inputs" / "w8a8", "x", number).float(), sample)
        assert torch.equal(read(tmp_path / "expected" / "w8a8", "output", number).float(), sim(sample))


def test_codes_stand_for_the_same_values(several_runs, tmp_path):
    flow, batches = several_runs
    flow.deploy("w8a16", tmp_path, integer_io=True, **CPU)
    sim = flow["w8a16"].sim
    sample = {name: value[:1] for name, value in batches[0].items()}
    encodings = sim.encodings().set_index("tensor")
    features, scores = (encodings.loc[name] for name in ("features", "dense"))
    values = (read(tmp_path / "inputs" / "w8a16", "features") - features.zero_point) * features.scale
    assert (values - sample["features"]).abs().max() <= features.scale / 2 * 1.001
    assert torch.equal(read(tmp_path / "inputs" / "w8a16", "ids").long(), sample["ids"])
    assert torch.equal(read(tmp_path / "inputs" / "w8a16", "mask").bool(), sample["mask"])
    answer = sim(**sample)
    assert torch.equal(read(tmp_path / "expected" / "w8a16", "class").long(), answer["class"])
    assert read(tmp_path / "expected" / "w8a16", "scores").max() > 255 and scores.scale > 0, "codes of 16 bits"


def test_the_table_has_a_row_for_each_folder(digits_runs, tmp_path):
    found = digits_runs.deploy("w8a8", tmp_path, **CPU).files.set_index("file")
    for name in ("inputs/w8a8/", "expected/w8a8/"):
        assert found.size_bytes[name] == sum(p.stat().st_size for p in (tmp_path / name).rglob("*") if p.is_file())
    assert found.index[0] == "w8a8.onnx" and len(found) == 7


def test_a_name_is_no_command(tmp_path):
    flow = new_flow()
    flow.run("w8a8", name="it's; touch 'made' $(touch made) `touch made` \"\\")
    out = tmp_path / "a folder, with spaces"
    flow.deploy(next(reversed(flow.runs)), out, **CPU)
    run_commands(out, tmp_path / "around", **DIGITS)
    assert not [p for p in tmp_path.rglob("made*")]


class Keyed(nn.Module):
    """Its input's name is a key of the user's."""

    def __init__(self):
        super().__init__()
        self.dense = nn.Linear(4, 2)

    def forward(self, batch):
        return self.dense(batch["it's $(touch made)"])


def test_neither_is_an_inputs_name(tmp_path):
    batches = [({"it's $(touch made)": torch.randn(4, 4)},)]
    flow = qnb.Workflow(Keyed().eval(), batches, lambda m: float(m(*batches[0]).mean()))
    flow.run("w8a8")
    flow.deploy("w8a8", tmp_path / "out", **CPU)
    (name,) = (i.name for i in flow.captured.inputs)
    run_commands(
        tmp_path / "out", tmp_path / "around", shapes={name: "1,4"}, inputs={"x": 16}, outputs={"output.raw": 8}
    )
    assert "$" in name and not [p for p in tmp_path.rglob("made*")]


def test_inputs_that_qnn_names_alike_have_files_of_their_own(tmp_path):
    class Pair(nn.Module):
        def forward(self, batch):
            return batch["a.b"] + 2 * batch["a_b"]

    batches = [({"a.b": torch.ones(2, 3), "a_b": torch.zeros(2, 3)},)]
    flow = qnb.Workflow(Pair().eval(), batches, lambda m: float(m(*batches[0]).mean()))
    flow.run("w8a8")
    flow.deploy("w8a8", tmp_path, samples=1, **CPU)
    names = [part.split(":=") for part in (tmp_path / "inputs" / "w8a8" / "input_list.txt").read_text().split()]
    assert len({name for name, _ in names}) == 2
    assert [float(np.fromfile(tmp_path / path, np.float32).mean()) for _, path in names] == [1.0, 0.0]


def test_old_folders_are_replaced_as_a_whole_and_other_runs_keep_theirs(digits_runs, tmp_path):
    digits_runs.deploy("w8a8", tmp_path, samples=4, **CPU)
    digits_runs.deploy("fp16", tmp_path, samples=3, **CPU)
    digits_runs.deploy("w8a8", tmp_path, samples=2, integer_io=True, **CPU)
    assert sorted(os.listdir(tmp_path / "inputs")) == sorted(os.listdir(tmp_path / "expected")) == ["fp16", "w8a8"]
    assert sorted(os.listdir(tmp_path / "inputs" / "w8a8")) == ["0-x.raw", "1-x.raw", "input_list.txt", "tensors.json"]
    assert sorted(os.listdir(tmp_path / "expected" / "w8a8")) == ["Result_0", "Result_1", "tensors.json"]
    assert (tmp_path / "inputs" / "w8a8" / "input_list.txt").read_text() == "inputs/w8a8/0-x.raw\ninputs/w8a8/1-x.raw\n"
    (tmp_path / "commands.sh").write_text(digits_runs.deployments["fp16"].commands)
    _check_run(tmp_path, "fp16", tmp_path / "run", DIGITS, lines=3)
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


@pytest.mark.parametrize("stop_at", ["writing samples", "starting"])
def test_cancelled_it_leaves_the_old_ones(digits_runs, tmp_path, stop_at):
    digits_runs.deploy("w8a8", tmp_path, samples=3, **CPU)
    before = {p.relative_to(tmp_path).as_posix(): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}

    def stop(done, total, message):
        if message.startswith(stop_at):
            raise Cancelled("test")

    with pytest.raises(Cancelled):
        digits_runs.deploy("w8a8", tmp_path, samples=1, progress=stop, **CPU)
    assert before == {p.relative_to(tmp_path).as_posix(): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}


@pytest.mark.parametrize("place", ["a file of theirs", "one more file", "a link", "a file in the folder's place"])
def test_a_folder_of_somebody_elses_is_left_alone(digits_runs, tmp_path, place):
    if place == "a file of theirs":
        (tmp_path / "inputs" / "w8a8").mkdir(parents=True)
        (tmp_path / "inputs" / "w8a8" / "thesis.txt").write_text("years of work")
    elif place == "one more file":
        digits_runs.deploy("w8a8", tmp_path, **CPU)
        (tmp_path / "expected" / "w8a8" / "notes.txt").write_text("mine")
    elif place == "a link":
        (tmp_path / "fallback_nodes").mkdir()
        (tmp_path / "inputs").symlink_to(tmp_path / "fallback_nodes")
    else:
        (tmp_path / "expected").write_text("mine")
    before = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*"))
    with pytest.raises(FileError, match="move it, or choose another folder"):
        digits_runs.deploy("w8a8", tmp_path, **CPU)
    assert before == sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*"))


def test_what_else_is_in_a_folder_called_inputs_stays(digits_runs, tmp_path):
    (tmp_path / "inputs").mkdir()
    (tmp_path / "inputs" / "thesis.txt").write_text("years of work")
    digits_runs.deploy("w8a8", tmp_path, **CPU)
    assert sorted(os.listdir(tmp_path / "inputs")) == ["thesis.txt", "w8a8"]


def test_a_fixed_batch_is_one_inference(tmp_path):
    model, x = nn.Sequential(nn.Linear(4, 2)).eval(), torch.randn(6, 4)
    flow = qnb.Workflow(model, [x, x + 1], lambda m: float(m(x).mean()), dynamic_shapes=({},))
    flow.run("w8a8")
    flow.deploy("w8a8", tmp_path / "out", **CPU)
    (name,) = (i.name for i in flow.captured.inputs)
    run_commands(
        tmp_path / "out",
        tmp_path / "around",
        shapes={name: "6,4"},
        inputs={name: 4 * 24},
        outputs={"output.raw": 4 * 12},
    )
    assert len((tmp_path / "out" / "inputs" / "w8a8" / "input_list.txt").read_text().splitlines()) == 2


class Lengths(nn.Module):
    def forward(self, x):
        return torch.relu(x).mean(1)


def test_samples_of_another_length_are_passed_over(tmp_path):
    """The files have the example's sizes; where no sample does, the example itself is taken."""
    longer, example = [torch.randn(2, 9, 3), torch.randn(2, 5, 3)], torch.randn(4, 5, 3)
    flow = qnb.Workflow(Lengths().eval(), longer, lambda m: float(m(example).mean()), example_inputs=example)
    flow.run("w8a8")
    flow.deploy("w8a8", tmp_path / "some", **CPU)
    assert torch.equal(read(tmp_path / "some" / "inputs" / "w8a8", "x").float(), longer[1][:1])
    flow = qnb.Workflow(Lengths().eval(), longer[:1], lambda m: float(m(example).mean()), example_inputs=example)
    flow.run("w8a8")
    flow.deploy("w8a8", tmp_path / "none", **CPU)
    assert torch.equal(read(tmp_path / "none" / "inputs" / "w8a8", "x").float(), example[:1])
    flow.example_inputs = None
    with pytest.raises(InputError, match=r"no calibration sample of the sizes.*x \[1, 5, 3\]"):
        flow.deploy("w8a8", tmp_path / "nothing", **CPU)
