"""Batch norm folding against the unfolded model, over every layer kind that it can follow."""

import pytest
import torch
from torch import nn

from qnb.graph import capture, ops

CASES = {
    "conv1d": (nn.Conv1d(4, 6, 3), nn.BatchNorm1d(6), (2, 4, 9)),
    "conv2d": (nn.Conv2d(4, 6, 3, bias=False), nn.BatchNorm2d(6), (2, 4, 8, 8)),
    "grouped": (nn.Conv2d(4, 6, 3, groups=2), nn.BatchNorm2d(6), (2, 4, 8, 8)),
    "depthwise": (nn.Conv2d(4, 4, 3, groups=4), nn.BatchNorm2d(4), (2, 4, 8, 8)),
    "conv3d": (nn.Conv3d(2, 3, 2), nn.BatchNorm3d(3), (2, 2, 4, 4, 4)),
    "transposed": (nn.ConvTranspose2d(4, 6, 3), nn.BatchNorm2d(6), (2, 4, 5, 5)),
    "transposed grouped": (nn.ConvTranspose2d(4, 6, 3, groups=2), nn.BatchNorm2d(6), (2, 4, 5, 5)),
    "linear": (nn.Linear(4, 6), nn.BatchNorm1d(6), (5, 4)),
    "no affine": (nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6, affine=False), (2, 4, 8, 8)),
}


def warm(model, shape):
    torch.manual_seed(1)
    for m in model.modules():
        if isinstance(m, nn.modules.batchnorm._BatchNorm):
            m.running_mean.normal_()
            m.running_var.uniform_(0.3, 2.0)
            if m.affine:
                nn.init.normal_(m.weight)
                nn.init.normal_(m.bias)
    return model.eval(), torch.randn(shape)


def norms(captured):
    return sum(ops.name(n) == "batch_norm" for n in captured.module.graph.nodes if n.op == "call_function")


@pytest.mark.parametrize("kind", CASES)
def test_folded_equals_unfolded(kind):
    layer, norm, shape = CASES[kind]
    model, x = warm(nn.Sequential(layer, norm, nn.ReLU()), shape)
    captured = capture(model, x)
    assert norms(captured) == 0
    with torch.no_grad():
        torch.testing.assert_close(captured.module(x)[0], model(x), atol=2e-5, rtol=1e-4)
    folded = next(n for n in captured.module.graph.nodes if "folded_batch_norm" in n.meta)
    assert set(folded.meta["folded_batch_norm"]) == {"gamma", "beta", "mean", "variance", "eps"}
    assert set(dict(captured.module.named_parameters())) == {"0.weight", "0.bias"}


def test_kept_where_somebody_else_reads_the_inner_tensor():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.bn = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

        def forward(self, x):
            y = self.conv(x)
            return self.bn(y) + y

    model, x = warm(Net(), (2, 3, 4, 4))
    captured = capture(model, x)
    assert norms(captured) == 1
    torch.testing.assert_close(captured.module(x)[0], model(x), atol=1e-5, rtol=1e-4)


def test_kept_before_the_convolution():
    model, x = warm(nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1)), (2, 3, 4, 4))
    assert norms(capture(model, x)) == 1


def test_kept_on_sequences_whose_channels_are_not_the_features():
    model, x = warm(nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(4)), (2, 4, 6))
    captured = capture(model, x)
    assert norms(captured) == 1
    torch.testing.assert_close(captured.module(x)[0], model(x), atol=1e-5, rtol=1e-4)


def test_one_convolution_with_two_batch_norms():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.a, self.b = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.BatchNorm2d(4)

        def forward(self, x, y):
            return self.a(self.conv(x)), self.b(self.conv(y))

    model, x = warm(Shared(), (2, 3, 4, 4))
    captured = capture(model, (x, -x))
    assert norms(captured) == 0
    for ours, own in zip(captured.module(x, -x), model(x, -x), strict=True):
        torch.testing.assert_close(ours, own, atol=1e-5, rtol=1e-4)
