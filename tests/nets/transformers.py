"""Nets of attention and of matrices: language, windows of images, experts, towers, integers in and out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.models import transformers_zoo
from tests.nets.net import Net


class Windows(nn.Module):
    """Attention in windows of 4x4 with a table of positions; ``shift`` rolls them, and masks what wraps around."""

    def __init__(self, width: int, size: int, shift: int, heads: int = 2, window: int = 4):
        super().__init__()
        self.size, self.shift, self.heads, self.window = size, shift, heads, window
        self.norm, self.qkv, self.out = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.table = nn.Parameter(torch.randn((2 * window - 1) ** 2, heads) * 0.5)
        place = torch.stack(torch.meshgrid(*[torch.arange(window)] * 2, indexing="ij")).flatten(1)
        apart = place[:, :, None] - place[:, None] + window - 1
        self.register_buffer("index", (apart[0] * (2 * window - 1) + apart[1]).flatten())
        self.register_buffer("mask", self._mask())

    def _mask(self) -> Tensor:
        """-100 between places of one window that come from opposite borders."""
        region = torch.zeros(self.size, dtype=torch.long)
        if self.shift:
            region[-self.window :], region[-self.shift :] = 1, 2
        cells = self.parts((region[:, None] * 3 + region)[None, :, :, None]).squeeze(-1)
        return (cells[:, None] != cells[:, :, None]).float() * -100.0

    def parts(self, x: Tensor) -> Tensor:
        n, h, w, c = x.shape
        x = x.view(n, h // self.window, self.window, w // self.window, self.window, c)
        return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, self.window**2, c)

    def forward(self, x: Tensor) -> Tensor:
        n, h, w, c = x.shape
        y = self.norm(x)
        y = self.parts(torch.roll(y, (-self.shift, -self.shift), (1, 2)) if self.shift else y)
        q, k, v = self.qkv(y).view(-1, self.window**2, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        bias = self.table[self.index].view(self.window**2, self.window**2, self.heads).permute(2, 0, 1)
        scores = (q * (c // self.heads) ** -0.5) @ k.transpose(-2, -1) + bias
        if self.shift:
            scores = scores.view(n, -1, *scores.shape[1:]) + self.mask[:, None]
            scores = scores.flatten(0, 1)
        y = self.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(-1, self.window**2, c))
        y = y.view(n, h // self.window, w // self.window, self.window, self.window, c)
        y = y.permute(0, 1, 3, 2, 4, 5).reshape(n, h, w, c)
        return x + (torch.roll(y, (self.shift, self.shift), (1, 2)) if self.shift else y)


class Swin(nn.Module):
    def __init__(self, width: int = 16):
        super().__init__()
        self.embed, self.fine, self.rolled = nn.Conv2d(3, width, 2, 2), Windows(width, 8, 0), Windows(width, 8, 2)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.merge = nn.Sequential(nn.LayerNorm(4 * width), nn.Linear(4 * width, 2 * width, bias=False))
        self.head = nn.Linear(2 * width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.rolled(self.fine(self.embed(x).permute(0, 2, 3, 1)))
        x = x + self.mlp(x)
        x = torch.cat([x[:, a::2, b::2] for b in (0, 1) for a in (0, 1)], -1)
        return self.head(self.merge(x).mean((1, 2)))


class TwoTowers(nn.Module):
    """One encoder for the question and the answer; how alike they are, and both vectors."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(24, 48), nn.GELU(), nn.LayerNorm(48), nn.Linear(48, 16))
        self.question, self.answer = nn.Linear(16, 16), nn.Linear(16, 16)

    def forward(self, question: Tensor, answer: Tensor) -> dict[str, Tensor]:
        q = F.normalize(self.question(self.encoder(question)), dim=-1)
        a = F.normalize(self.answer(self.encoder(answer)), dim=-1)
        return {"alike": q @ a.transpose(-2, -1), "question": q, "answer": a}


class Experts(nn.Module):
    """All experts compute; a softmax weighs what they give."""

    def __init__(self, width: int = 16, count: int = 3):
        super().__init__()
        self.gate = nn.Linear(width, count)
        self.experts = nn.ModuleList(
            [nn.Sequential(nn.Linear(width, 32), nn.ReLU(), nn.Linear(32, width)) for _ in range(count)]
        )
        self.norm, self.out = nn.LayerNorm(width), nn.Linear(width, 6)

    def forward(self, x: Tensor) -> Tensor:
        given = torch.stack([expert(x) for expert in self.experts], -1)
        x = x + (given * self.gate(x).softmax(-1).unsqueeze(-2)).sum(-1)
        return self.out(self.norm(x))


class Classes(nn.Module):
    """Token ids and which of them count, to a class number and a flag for each, and the scores."""

    def __init__(self):
        super().__init__()
        self.embedding, self.hidden, self.out = nn.Embedding(40, 16), nn.Linear(32, 32), nn.Linear(32, 5)

    def forward(self, ids: Tensor, counts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.embedding(ids)
        kept = counts.unsqueeze(-1).to(x.dtype)
        mean = (x * kept).sum(1, keepdim=True) * 0.25
        scores = self.out(torch.tanh(self.hidden(torch.cat([x, mean.expand_as(x)], -1))))
        return scores.argmax(-1), (scores.amax(-1) > 1.0) & counts, scores


def _tokens(n: int) -> dict[str, Tensor]:
    """Every second sample is padded."""
    attend = torch.ones(n, 9, dtype=torch.long)
    attend[::2, 6:] = 0
    return {"input_ids": torch.randint(0, 100, (n, 9)), "attention_mask": attend}


NETS = {
    "bert": Net(lambda: transformers_zoo()["bert"][0], _tokens),
    "llama": Net(lambda: transformers_zoo()["llama"][0], _tokens),
    "swin": Net(Swin, lambda n: (torch.randn(n, 3, 16, 16),)),
    "two_towers": Net(TwoTowers, lambda n: (torch.randn(n, 4, 24), torch.randn(n, 3, 24))),
    "experts": Net(Experts, lambda n: (torch.randn(n, 6, 16),)),
    "classes": Net(Classes, lambda n: (torch.randint(0, 40, (n, 7)), torch.rand(n, 7) > 0.3)),
}
