"""A small causal language model, written as its authors would write it, and its data."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

import qnb

WIDTH, HEADS, VOCABULARY, LONGEST = 16, 4, 20, 640


class CausalLM(nn.Module):
    """Learned positions, one block of attention with a causal mask and a padding mask, logits ``[N, T, V]``."""

    def __init__(self):
        super().__init__()
        self.tokens, self.places = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(LONGEST, WIDTH)
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.out, self.norm = nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, VOCABULARY)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        n, length = input_ids.shape
        x = self.tokens(input_ids) + self.places(torch.arange(length, device=input_ids.device))
        q, k, v = (f(x).view(n, length, HEADS, -1).transpose(1, 2) for f in (self.query, self.key, self.value))
        seen = torch.ones(length, length, dtype=torch.bool, device=x.device).tril() & (
            attention_mask[:, None, None] > 0
        )
        scores = (q @ k.transpose(-2, -1) / math.sqrt(WIDTH // HEADS)).masked_fill(~seen, -1e9)
        x = x + self.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(n, length, WIDTH))
        return self.head(self.norm(x))


def batch(rows: int, length: int, padded: int = 0, seed: int = 0) -> dict[str, Tensor]:
    """Every second sample ends with so many tokens of padding."""
    ids = torch.randint(VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(seed))
    mask = torch.ones(rows, length, dtype=torch.long)
    if padded:
        mask[::2, -padded:] = 0
    return {"input_ids": ids, "attention_mask": mask}


def simulated(precision: str = "w8a8", batches=None) -> qnb.QuantSim:
    torch.manual_seed(0)
    batches = batches or [batch(4, 9, 3), batch(2, 6, 1, seed=1)]
    return qnb.QuantSim(CausalLM().eval(), batches[0], precision).calibrate(batches)
