"""What exporters say of their own affairs stays out of sight; what others say does not."""

import logging
import sys
import threading
import warnings

import pytest
import torch

import qnb
from qnb.errors import CaptureError
from qnb.quiet import quiet
from tests.models import Tagger


class Watched(torch.nn.Module):
    """Looks around while it is traced."""

    def __init__(self, look):
        super().__init__()
        self.fc, self.look = torch.nn.Linear(3, 2), look

    def forward(self, x):
        self.look()
        return self.fc(x)


class Branches(torch.nn.Module):
    def forward(self, x):
        return x * 2 if x.sum() > 0 else x


def test_capture_and_export_print_nothing(tmp_path, capfd):
    batch = torch.randint(0, 50, (2, 7))
    sim = qnb.QuantSim(Tagger().eval(), batch, "w8a8").calibrate([batch])
    qnb.export_onnx(sim, tmp_path / "tagger.onnx")
    with pytest.raises(CaptureError, match="torch.where"):
        qnb.QuantSim(Branches().eval(), torch.randn(2, 3))
    assert capfd.readouterr() == ("", "")


def test_the_process_s_streams_stay_where_they_are(tmp_path):
    seen, own = [], (sys.stdout, sys.stderr)
    model = Watched(lambda: seen.append((sys.stdout, sys.stderr)))
    sim = qnb.QuantSim(model.eval(), torch.randn(2, 3), "w8a8").calibrate([torch.randn(2, 3)])
    progress = lambda *_: seen.append((sys.stdout, sys.stderr))  # noqa: E731
    qnb.export_onnx(sim, tmp_path / "model.onnx", progress=progress)
    assert len(seen) > 4 and set(seen) == {own}


def test_other_threads_are_heard(caplog):
    def speak():
        warnings.warn("from another thread", UserWarning, stacklevel=1)
        logging.getLogger("torch.onnx").error("logged by another thread")

    with pytest.warns(UserWarning, match="another thread"), quiet():
        warnings.warn("about the exporter", UserWarning, stacklevel=1)
        logging.getLogger("torch.onnx").error("about the exporter")
        logging.getLogger("mine").error("by the user's own code")
        thread = threading.Thread(target=speak)
        thread.start()
        thread.join()
    assert [r.message for r in caplog.records] == ["by the user's own code", "logged by another thread"]


def test_afterwards_this_thread_is_heard_too():
    with quiet(), quiet():
        pass
    with pytest.warns(UserWarning, match="again"):
        warnings.warn("again", UserWarning, stacklevel=1)
