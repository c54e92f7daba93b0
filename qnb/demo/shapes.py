"""Made pictures with circles, squares and triangles on textured grounds: the same for the same seed, on any machine."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import reduce

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

SIDE = 64
"""Pixels."""
CLASSES = ("circle", "square", "triangle")
MOST = 3
"""Shapes in a picture, at most."""
SMALLEST, LARGEST = 6.0, 14.0
"""Half of a shape's width, in pixels."""
TOGETHER = 32
"""Pictures that are made in one go: few, so that they stay in the processor's cache."""
TRAINING_SEED, HELD_OUT_SEED, CALIBRATION_SEED = 0, 1, 2


@dataclass(frozen=True)
class Pictures:
    """Made pictures with what is in them; ``n`` pictures, up to `MOST` shapes each.

    Args:
        images: ``[n, 3, SIDE, SIDE]`` float32 in [0, 1].
        boxes: ``[n, MOST, 4]`` float32, left, top, right and bottom in pixels.
        labels: ``[n, MOST]`` int64, the class, or -1 where there is no shape.
        masks: ``[n, SIDE, SIDE]`` int64, 0 for the ground, else 1 + class.
    """

    images: Tensor
    boxes: Tensor
    labels: Tensor
    masks: Tensor

    def __len__(self) -> int:
        return len(self.images)


def pictures(count: int, seed: int) -> Pictures:
    """``count`` pictures with 1 to `MOST` shapes that do not overlap.

    >>> made = pictures(2, 0)
    >>> made.images.shape, made.labels.shape
    (torch.Size([2, 3, 64, 64]), torch.Size([2, 3]))
    """
    rng = np.random.RandomState(seed)  # NumPy keeps its numbers the same in all versions
    parts = [_made(rng) for _ in range(-(-count // TOGETHER))]
    return Pictures(*(torch.cat([getattr(part, f.name) for part in parts])[:count] for f in fields(Pictures)))


def _made(rng: np.random.RandomState) -> Pictures:
    """The next `TOGETHER` pictures."""
    images = _grounds(rng)
    ground = images.mean((2, 3))
    centres, radii = _places(rng)
    labels = _tensor(rng.randint(0, len(CLASSES), (TOGETHER, MOST))).long()
    number = _tensor(rng.randint(1, MOST + 1, (TOGETHER, 1)))
    labels = torch.where(torch.arange(MOST) < number, labels, -1)
    masks, boxes = torch.zeros(TOGETHER, SIDE, SIDE, dtype=torch.int64), []
    for i in range(MOST):
        turn = _tensor(rng.uniform(0, 2 * np.pi, TOGETHER))
        cover, box = _drawn(centres[:, i], radii[:, i], turn, labels[:, i])
        colour = _colours(rng, ground)[:, :, None, None]
        images += cover[:, None] * (colour - images)
        masks = torch.where(cover > 0.5, labels[:, i, None, None] + 1, masks)
        boxes.append(box)
    images += _tensor(rng.uniform(0.01, 0.06, (TOGETHER, 1, 1, 1))) * _tensor(rng.standard_normal(images.shape))
    return Pictures(images.clamp_(0, 1), torch.stack(boxes, 1), labels, masks)


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(values)).float()


def _grounds(rng: np.random.RandomState) -> Tensor:
    """Coloured noise of three sizes around a colour, ``[TOGETHER, 3, SIDE, SIDE]``."""
    found = _tensor(rng.uniform(0.2, 0.8, (TOGETHER, 3, 1, 1))).repeat(1, 1, SIDE, SIDE)
    for cells, most in ((3, 0.15), (8, 0.10), (20, 0.08)):
        strength = _tensor(rng.uniform(0, most, (TOGETHER, 1, 1, 1)))
        noise = strength * _tensor(rng.standard_normal((TOGETHER, 3, cells, cells)))
        found += F.interpolate(noise, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
    return found.clamp_(0, 1)


def _places(rng: np.random.RandomState) -> tuple[Tensor, Tensor]:
    """Centres ``[TOGETHER, MOST, 2]`` and half widths ``[TOGETHER, MOST]``, of the first draw in which none overlap."""
    centres, radii = np.zeros((TOGETHER, MOST, 2)), np.zeros((TOGETHER, MOST))
    again = np.arange(TOGETHER)
    while len(again):
        radii[again] = rng.uniform(SMALLEST, LARGEST, (len(again), MOST))
        room = radii[again][..., None] + 1
        centres[again] = room + rng.uniform(0, 1, (len(again), MOST, 2)) * (SIDE - 2 * room)
        apart = np.linalg.norm(centres[again][:, :, None] - centres[again][:, None], axis=-1)
        needed = 1.1 * (radii[again][:, :, None] + radii[again][:, None]) * (1 - np.eye(MOST))
        again = again[(apart < needed).any((1, 2))]
    return _tensor(centres), _tensor(radii)


def _colours(rng: np.random.RandomState, ground: Tensor) -> Tensor:
    """Colours ``[count, 3]`` that are 0.3 to 0.6 away from the ground's."""
    direction = rng.standard_normal(ground.shape)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return (ground + _tensor(direction * rng.uniform(0.3, 0.6, (len(ground), 1)))).clamp(0, 1)


def _drawn(centre: Tensor, radius: Tensor, turn: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """How much of each pixel a shape covers ``[n, SIDE, SIDE]``, and its box ``[n, 4]``; label -1 covers nothing."""
    at = torch.arange(SIDE) + 0.5
    x, y = at[None, None, :] - centre[:, 0, None, None], at[None, :, None] - centre[:, 1, None, None]
    outside = (x.square() + y.square()).sqrt() - radius[:, None, None]  # in pixels, negative within
    box = radius[:, None] * torch.tensor([-1.0, -1.0, 1.0, 1.0])
    for kind, sides in ((1, 4), (2, 3)):
        at = (label == kind).nonzero()[:, 0]
        angles = turn[at, None] + torch.arange(sides) * (2 * math.pi / sides)
        lines = (x[at] * a.cos()[:, None, None] + y[at] * a.sin()[:, None, None] for a in angles.unbind(1))
        outside[at] = reduce(torch.maximum, lines) - radius[at, None, None] * math.cos(math.pi / sides)
        ends = angles + math.pi / sides
        corners = torch.stack([ends.cos(), ends.sin()], -1) * radius[at, None, None]
        box[at] = torch.cat([corners.amin(1), corners.amax(1)], 1)
    return (0.5 - outside).clamp(0, 1) * (label >= 0)[:, None, None], box + centre.repeat(1, 2)
