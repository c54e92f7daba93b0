"""Networks of the sizes that DESIGN's budgets speak of, written from their papers' tables."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class ConvBN(nn.Sequential):
    def __init__(self, inputs, outputs, kernel=3, stride=1, groups=1, act=nn.ReLU):
        layers = [
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        super().__init__(*layers, *([act()] if act else []))


class InvertedResidual(nn.Module):
    def __init__(self, inputs, outputs, stride, expand):
        super().__init__()
        hidden = inputs * expand
        layers = [] if expand == 1 else [ConvBN(inputs, hidden, 1, act=nn.ReLU6)]
        layers += [ConvBN(hidden, hidden, 3, stride, hidden, nn.ReLU6), ConvBN(hidden, outputs, 1, act=None)]
        self.body, self.residual = nn.Sequential(*layers), stride == 1 and inputs == outputs

    def forward(self, x):
        return x + self.body(x) if self.residual else self.body(x)


def mobilenet_v2():
    """arXiv 1801.04381, table 2."""
    layers, channels = [ConvBN(3, 32, 3, 2, act=nn.ReLU6)], 32
    for expand, outputs, repeats, stride in (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ):
        for i in range(repeats):
            layers.append(InvertedResidual(channels, outputs, stride if i == 0 else 1, expand))
            channels = outputs
    layers += [ConvBN(320, 1280, 1, act=nn.ReLU6), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, 1000)]
    return nn.Sequential(*layers).eval()


class Block(nn.Module):
    """A residual block, basic or bottleneck (arXiv 1512.03385)."""

    def __init__(self, inputs, width, outputs, stride, bottleneck):
        super().__init__()
        if bottleneck:
            self.body = nn.Sequential(
                ConvBN(inputs, width, 1), ConvBN(width, width, 3, stride), ConvBN(width, outputs, 1, act=None)
            )
        else:
            self.body = nn.Sequential(ConvBN(inputs, width, 3, stride), ConvBN(width, outputs, 3, act=None))
        plain = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if plain else ConvBN(inputs, outputs, 1, stride, act=None)

    def forward(self, x):
        return F.relu(self.body(x) + self.shortcut(x))


def _stages(stem, widths, repeats, expansion, bottleneck, channels, classes):
    layers = list(stem)
    for stage, (width, count) in enumerate(zip(widths, repeats, strict=True)):
        for i in range(count):
            layers.append(Block(channels, width, width * expansion, 2 if i == 0 and stage else 1, bottleneck))
            channels = width * expansion
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)).eval()


def resnet20():
    return _stages([ConvBN(3, 16)], (16, 32, 64), (3, 3, 3), 1, False, 16, 10)


def resnet50():
    stem = [ConvBN(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)]
    return _stages(stem, (64, 128, 256, 512), (3, 4, 6, 3), 4, True, 64, 1000)


def bert_base(layers=4):
    """Width of BERT-base, fewer layers; random weights."""
    from transformers import BertConfig, BertModel

    config = BertConfig(num_hidden_layers=layers, hidden_size=768, intermediate_size=3072, vocab_size=1000)
    return BertModel(config).eval()


def warm_up_batch_norm(model, x):
    """Give batch norms real statistics, so that activations have the scale of a trained net's."""
    with torch.no_grad():
        model.train()(x)
    return model.eval()
