"""Models at the edges: the same tensor twice, no inputs that count, nested outputs, ops that are rewritten."""

from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from qnb.export import export_onnx
from tests.export.files import File, agreement_db, calibrated, exported

EDGES = {}


def edge(*inputs):
    """Keeps a model's class with the inputs it takes."""
    return lambda cls: EDGES.setdefault(cls.__name__, (cls, inputs)) and cls


SEED = torch.Generator().manual_seed(0)
X, IMAGE, SEQUENCE = (torch.randn(shape, generator=SEED) for shape in ((4, 8), (4, 3, 6, 6), (4, 5, 8)))


class OneLinear(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 8)


@edge(X)
class SameTensorTwice(OneLinear):
    def forward(self, x):
        y = self.fc(x)
        return y, y


@edge(X)
class InputUnchanged(OneLinear):
    def forward(self, x):
        return x, self.fc(x)


@edge(X)
class Constant(OneLinear):
    def __init__(self):
        super().__init__()
        self.register_buffer("prior", torch.linspace(0, 1, 8))

    def forward(self, x):
        return self.fc(x), self.prior


@edge(X)
class ConstantUsedToo(Constant):
    def forward(self, x):
        return self.fc(x) + self.prior, self.prior


@dataclass
class Pair:
    logits: torch.Tensor
    scores: dict
    loss: torch.Tensor | None = None


@edge(X)
class NestedOutput(OneLinear):
    def forward(self, x):
        y = self.fc(x)
        return Pair(logits=y, scores={"soft": y.softmax(-1), "sharp": [y.sigmoid()]})


@edge(X)
class ClassNumbers(OneLinear):
    def forward(self, x):
        y = self.fc(x)
        return y.argmax(-1), y


@edge(X)
class OnlyReshaped(OneLinear):
    def forward(self, x):
        y = self.fc(x)
        return y.view(-1, 2, 4), y.view(-1, 4, 2).transpose(1, 2)


@edge(X)
class InputOnlyReshaped(OneLinear):
    def forward(self, x):
        return x.view(-1, 2, 4), self.fc(x)


@edge(X, X)
class InputUsedNowhere(OneLinear):
    def forward(self, x, unused):
        return self.fc(x)


@edge(torch.arange(24).reshape(4, 6) % 20)
class TiedEmbedding(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(20, 8), nn.Linear(8, 20, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, ids):
        return self.head(torch.tanh(self.embedding(ids)))


@edge(SEQUENCE)
class Linear3dThenRelu(OneLinear):
    def forward(self, x):
        return F.relu(self.fc(x))


@edge(SEQUENCE)
class Linear3dThenLeakyRelu(OneLinear):
    def forward(self, x):
        return F.leaky_relu(self.fc(x), 0.1)


@edge(SEQUENCE)
class Linear3dReadTwice(OneLinear):
    def forward(self, x):
        y = self.fc(x)
        return F.relu(y) + y


@edge(torch.randn(2, 3, 4, 8, generator=SEED))
class Linear4d(OneLinear):
    def forward(self, x):
        return self.fc(self.fc(x).relu())


@edge(IMAGE)
class MeanKept(nn.Module):
    def forward(self, x):
        return F.relu(x).mean((2, 3), keepdim=True)


@edge(IMAGE)
class MeanDropped(nn.Module):
    def forward(self, x):
        return F.relu(x).mean((-1, -2)) * 2


@edge(IMAGE)
class MeanOfOneAxis(nn.Module):
    def forward(self, x):
        return F.relu(x).mean(1)


@edge(IMAGE)
class LoneRelu6(nn.Module):
    def forward(self, x):
        return F.relu6(x * 4), F.relu6(x + x)


@edge(IMAGE)
class Hardtanh(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return F.hardtanh(self.conv(x), -0.3, 0.7)


@edge(IMAGE)
class Clamps(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        return self.conv(x).clamp(min=-0.1), self.conv(x).clamp(max=0.2), self.conv(x + 1).clamp(-0.2, 0.4)


AT_EIGHT_BITS = ("Linear3dThenRelu", "LoneRelu6")


@pytest.mark.parametrize(
    ("name", "precision", "target", "least_db"),
    [
        *((name, "w8a16", "htp-v75", 60) for name in EDGES),
        *((name, "w8a8", "onnxruntime-cpu", 25) for name in AT_EIGHT_BITS),
    ],
    ids=lambda value: str(value) if isinstance(value, str) else "",
)
def test_edges(name, precision, target, least_db, tmp_path):
    cls, inputs = EDGES[name]
    sim = calibrated(cls().eval(), inputs, precision, target)
    runtime = exported(sim, tmp_path / "m.onnx")
    assert [t.name for t in runtime.outputs] == sim.captured.returned.names()
    assert [t.name for t in runtime.inputs] == [i.name for i in sim.captured.inputs]
    assert {t.shape[0] for t in runtime.inputs} == {"batch"}, "also of an input whose batch nothing ties to the others"
    for count in (len(inputs[0]), 1):
        assert agreement_db(sim, runtime, tuple(x[:count] for x in inputs)) >= least_db


def test_output_names(tmp_path):
    cls, inputs = EDGES["NestedOutput"]
    sim = calibrated(cls().eval(), inputs)
    names = ["logits", "scores.soft", "scores.sharp.0"]
    assert list(File(export_onnx(sim, tmp_path / "m.onnx")).outputs) == names
