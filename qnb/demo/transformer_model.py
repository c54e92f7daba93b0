"""A small vision transformer: patches as tokens, keyword input, dataclass output."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass
class Classified:
    """logits ``[N, classes]``; tokens ``[N, T, width]``, the last hidden states."""

    logits: torch.Tensor
    tokens: torch.Tensor


class Block(nn.Module):
    """Pre-norm attention and MLP, each with a residual add (Dosovitskiy et al. 2021, arXiv 2010.11929)."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def attend(self, x: torch.Tensor) -> torch.Tensor:
        n, length, width = x.shape
        q, k, v = self.qkv(x).view(n, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, length, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attend(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class DigitsTransformer(nn.Module):
    """``pixels [N, 1, 8, 8]`` as 16 tokens of 2 x 2 pixels, to `Classified`."""

    def __init__(self, width: int = 40, heads: int = 4, depth: int = 3):
        super().__init__()
        self.embed = nn.Conv2d(1, width, 2, 2)
        self.position = nn.Parameter(torch.zeros(1, 16, width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm, self.classifier = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, pixels: torch.Tensor) -> Classified:
        x = self.embed(pixels).flatten(2).transpose(1, 2) + self.position
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        return Classified(self.classifier(x.mean(1)), x)
