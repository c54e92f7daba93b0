"""What is on the disk after an export, a failed or cancelled one too; what is refused."""

import os

import onnx
import pytest
import torch
from torch import nn

import qnb
from qnb.errors import CalibrationError, Cancelled, ExportError, FileError, InputError
from qnb.export import export_onnx
from tests.export.files import agreement_db, calibrated, exported, net
from tests.models import images


def test_a_second_export_replaces_the_first(sims, tmp_path):
    path = tmp_path / "m.onnx"
    first = export_onnx(sims("w8a8"), path).read_bytes()
    assert export_onnx(sims("w8a16"), path) == path and path.read_bytes() != first
    assert export_onnx(sims("w8a8"), str(path)).read_bytes() == first, "the same sim gives the same file"
    assert os.listdir(tmp_path) == ["m.onnx"]


def test_what_the_checker_refuses_is_not_written(sims, old, monkeypatch):
    def refuse(*_, **__):
        raise onnx.checker.ValidationError("no such thing")

    monkeypatch.setattr(onnx.checker, "check_model", refuse)
    with pytest.raises(ExportError, match="no such thing"):
        export_onnx(sims(), old)


@pytest.mark.skipif(os.geteuid() == 0 if hasattr(os, "geteuid") else True, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(sims, old):
    old.parent.chmod(0o500)
    try:
        with pytest.raises(FileError, match="choose a folder"):
            export_onnx(sims(), old)
    finally:
        old.parent.chmod(0o700)


def test_a_folder_that_refuses_a_temporary_one(sims, old, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError("read-only file system")

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    with pytest.raises(FileError, match="read-only file system.*choose a folder"):
        export_onnx(sims(), old)


def test_a_disk_that_is_full(sims, old, monkeypatch):
    def refuse(*_, **__):
        raise OSError(28, "no space left on device")

    monkeypatch.setattr("onnx_ir.save", refuse)
    with pytest.raises(FileError, match="no space left"):
        export_onnx(sims(), old)


def test_a_path_that_is_a_folder(sims, tmp_path):
    (tmp_path / "m.onnx").mkdir()
    with pytest.raises(FileError, match="choose a file"):
        export_onnx(sims(), tmp_path / "m.onnx")
    assert os.listdir(tmp_path) == ["m.onnx"]


@pytest.mark.parametrize("step", [0, 1, 2])
def test_cancelled(sims, old, step):
    seen = []

    def progress(done, total, message):
        seen.append((done, total))
        assert old.name in message
        if done == step:
            raise Cancelled()

    with pytest.raises(Cancelled):
        export_onnx(sims(), old, progress=progress)
    assert seen == [(done, 3) for done in range(step + 1)]


def test_progress_ends(sims, tmp_path):
    seen = []
    export_onnx(sims(), tmp_path / "m.onnx", progress=lambda *report: seen.append(report[:2]))
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(("form", "precisions"), [("qdq", ["w4a8", "w8a8"]), ("fp16", ["w8a8"])], ids=["qdq", "fp16"])
def test_constants_beyond_the_limit_lie_beside_the_file(sims, tmp_path, monkeypatch, form, precisions):
    whole = exported(sims("w8a8"), tmp_path / "whole.onnx", form=form).run(images())
    monkeypatch.setattr("qnb.export.onnx.file.LARGEST_FILE", 1000)
    path = tmp_path / "m.onnx"
    for precision in precisions:
        runtime = exported(sims(precision), path, form=form)
        assert sorted(os.listdir(tmp_path)) == ["m.onnx", "m.onnx.data", "whole.onnx"]
        names = {t.name for t in onnx.load(path, load_external_data=False).graph.initializer if t.external_data}
        assert names == {"3.weight_quantized"} if form == "qdq" else "3.weight" in names
        got = runtime.run(images())
    assert torch.equal(got, whole), "both files were replaced"


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"form": "int8"}, InputError, "qdq, fp16, fp32"),
        ({"batch": 0}, InputError, "positive"),
        ({"batch": True}, InputError, "positive"),
        ({"batch": 2.0}, InputError, "positive"),
        ({"form": "fp32", "integer_io": True}, InputError, "integer_io"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else None,
)
def test_arguments(sims, old, arguments, error, words):
    with pytest.raises(error, match=words):
        export_onnx(sims(), old, **arguments)


def test_not_calibrated(old):
    sim = qnb.QuantSim(net(), images())
    with pytest.raises(CalibrationError, match="calibrate"):
        export_onnx(sim, old)


def test_no_folder(sims, tmp_path):
    with pytest.raises(FileError, match="does not exist"):
        export_onnx(sims(), tmp_path / "none" / "m.onnx")
    assert os.listdir(tmp_path) == []


def test_a_batch_that_the_capture_fixed(tmp_path):
    x = images()
    sim = calibrated(net(), x, dynamic_shapes={})
    if isinstance(sim.captured.inputs[0].shape[0], str):
        pytest.skip("the capture kept the batch variable")
    with pytest.raises(InputError, match="fixed it at 4"):
        export_onnx(sim, tmp_path / "m.onnx", batch=1)
    assert agreement_db(sim, exported(sim, tmp_path / "m.onnx"), x) >= 25


@torch.library.custom_op("qnb_tests::unheard_of", mutates_args=())
def unheard_of(x: torch.Tensor) -> torch.Tensor:
    return x + 1


unheard_of.register_fake(torch.empty_like)


def test_an_op_without_onnx_form_is_named(old):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(8, 8)

        def forward(self, x):
            return unheard_of(self.fc(x))

    with pytest.raises(ExportError, match="unheard_of.*replace that op"):
        export_onnx(calibrated(Model().eval(), torch.randn(4, 8)), old)
