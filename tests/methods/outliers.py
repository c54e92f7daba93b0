"""A transformer with outlier channels, as large ones have them."""

import copy

import torch


def outliers(model, factor=100.0):
    """The demo transformer with two channels of each norm so much larger, and the layers after it so much smaller."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        for block in model.blocks:
            for norm, layer in ((block.norm1, block.qkv), (block.norm2, block.mlp[0])):
                for vector in (norm.weight, norm.bias):
                    vector[[3, 17]] *= factor
                layer.weight[:, [3, 17]] /= factor
    return model
