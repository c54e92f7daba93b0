"""A U-Net in miniature (Ronneberger et al. 2015, arXiv 1505.04597) that says which shape each pixel belongs to."""

from __future__ import annotations

from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import qnb
from qnb.demo import shapes

CLASSES = 1 + len(shapes.CLASSES)
HELD_OUT, CALIBRATION, TRAINING = 200, 256, 2048


def twice(inputs: int, outputs: int) -> nn.Sequential:
    """Two 3x3 convolutions with batch norm and ReLU."""
    layers = []
    for width in (inputs, outputs):
        layers += [nn.Conv2d(width, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """Images ``[n, 3, 32, 32]`` to logits ``[n, CLASSES, 32, 32]``."""

    def __init__(self, width: int = 10):
        super().__init__()
        self.fine, self.middle, self.coarse = twice(3, width), twice(width, 2 * width), twice(2 * width, 4 * width)
        self.pool = nn.MaxPool2d(2)
        self.up1, self.join1 = nn.ConvTranspose2d(4 * width, 2 * width, 2, 2), twice(4 * width, 2 * width)
        self.up2, self.join2 = nn.ConvTranspose2d(2 * width, width, 2, 2), twice(2 * width, width)
        self.head = nn.Conv2d(width, CLASSES, 1)

    def forward(self, images: Tensor) -> Tensor:
        fine = self.fine(images)
        middle = self.middle(self.pool(fine))
        x = self.up1(self.coarse(self.pool(middle)))
        x = self.up2(self.join1(torch.cat([x, middle], 1)))
        return self.head(self.join2(torch.cat([x, fine], 1)))


make = UNet


def halved(made: shapes.Pictures) -> tuple[Tensor, Tensor]:
    """Images ``[n, 3, 32, 32]`` and their masks."""
    return F.avg_pool2d(made.images, 2), made.masks[:, ::2, ::2].contiguous()


def mean_iou(images: Tensor, masks: Tensor):
    """An evaluation function: IoU over the classes that a picture has, with a value per picture."""

    def evaluate(model: nn.Module) -> qnb.Score:
        with torch.no_grad():
            found = torch.cat([model(x).argmax(1) for x in images.split(100)])
        found, wanted = (F.one_hot(x, CLASSES).flatten(1, 2).bool() for x in (found, masks))
        both, either, there = (found & wanted).sum(1), (found | wanted).sum(1), wanted.any(1)
        per_sample = ((both / either.clamp_min(1)) * there).sum(1) / there.sum(1)
        return qnb.Score(float(per_sample.double().mean()), per_sample=per_sample.double().tolist())

    return evaluate


class Task:
    """For `tools.train_demo`."""

    metric, batch = "iou", 32
    size = TRAINING

    def __init__(self):
        self.held_out, masks = halved(shapes.pictures(HELD_OUT, shapes.HELD_OUT_SEED))
        self.calibration, _ = halved(shapes.pictures(CALIBRATION, shapes.CALIBRATION_SEED))
        self.evaluate = mean_iou(self.held_out, masks)

    @cached_property
    def training(self) -> tuple[Tensor, Tensor]:
        return halved(shapes.pictures(TRAINING, shapes.TRAINING_SEED))

    def loss(self, model: nn.Module, index: Tensor) -> Tensor:
        images, masks = self.training
        return F.cross_entropy(model(images[index]), masks[index])
