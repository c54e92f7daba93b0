"""Nets that read sequences of features: convolved, recurrent, both with attention."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.models import Tagger
from tests.nets.net import Net


class Tcn(nn.Module):
    """Causal convolutions that reach twice as far in each block; features ``[n, 6, time]`` to scores per step."""

    def __init__(self):
        super().__init__()
        widths = (6, 16, 16, 16)
        self.first = nn.ModuleList([nn.Conv1d(i, 16, 3, dilation=2**n) for n, i in enumerate(widths[:-1])])
        self.second = nn.ModuleList([nn.Conv1d(16, 16, 3, dilation=2**n) for n in range(3)])
        self.match, self.out = nn.Conv1d(6, 16, 1), nn.Conv1d(16, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        for n, (first, second) in enumerate(zip(self.first, self.second, strict=True)):
            before = (2 * 2**n, 0)
            y = F.relu(second(F.pad(F.relu(first(F.pad(x, before))), before)))
            x = F.relu(y + (self.match(x) if n == 0 else x))
        return self.out(x)


class FeedForward(nn.Sequential):
    def __init__(self, width: int):
        super().__init__(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))


class Conformer(nn.Module):
    """One block on ``[n, time, 24]``: half a feed-forward, attention, a gated convolution, the other half."""

    def __init__(self, width: int = 24, heads: int = 3):
        super().__init__()
        self.heads = heads
        self.before, self.after, self.norm = FeedForward(width), FeedForward(width), nn.LayerNorm(width)
        self.attended, self.qkv, self.out = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.convolved, self.gated = nn.LayerNorm(width), nn.Conv1d(width, 2 * width, 1)
        self.depthwise = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.batch_norm, self.mixed = nn.BatchNorm1d(width), nn.Conv1d(width, width, 1)

    def attend(self, x: Tensor) -> Tensor:
        n, time, width = x.shape
        q, k, v = self.qkv(self.attended(x)).view(n, time, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, time, width))

    def convolve(self, x: Tensor) -> Tensor:
        x = F.glu(self.gated(self.convolved(x).transpose(1, 2)), 1)
        return self.mixed(F.silu(self.batch_norm(self.depthwise(x)))).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = x + 0.5 * self.before(x)
        x = x + self.attend(x)
        x = x + self.convolve(x)
        return self.norm(x + 0.5 * self.after(x))


class Speaker(nn.Module):
    """Frames ``[n, time, 10]`` to a unit vector: the last hidden state of two LSTM layers."""

    def __init__(self):
        super().__init__()
        self.lstm, self.linear = nn.LSTM(10, 16, num_layers=2, batch_first=True), nn.Linear(16, 12)

    def forward(self, x: Tensor) -> Tensor:
        _, (hidden, _) = self.lstm(x)
        return F.normalize(F.relu(self.linear(hidden[-1])), dim=-1)


NETS = {
    "tcn": Net(Tcn, lambda n: (torch.randn(n, 6, 24),)),
    "conformer": Net(Conformer, lambda n: (torch.randn(n, 12, 24),)),
    "lstm": Net(Speaker, lambda n: (torch.randn(n, 8, 10),)),
    "gru": Net(lambda: Tagger(nn.GRU), lambda n: (torch.randint(0, 50, (n, 7)),)),
}
