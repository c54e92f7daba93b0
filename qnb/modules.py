"""Which module a layer belongs to, from its name."""

from __future__ import annotations

from collections.abc import Sequence


def module_groups(layers: Sequence[str]) -> list[str]:
    """The repeated block, or else the first module, that each layer stands in; empty at the top level.

    >>> module_groups(["stem.conv", "blocks.0.project.conv", "encoder.layer.11.output.dense", "classifier"])
    ['stem', 'blocks.0', 'encoder.layer.11', '']
    """
    return [_group(layer.split(".")) for layer in layers]


def _group(parts: list[str]) -> str:
    numbers = [i for i, part in enumerate(parts[:-1]) if part.isdigit()]
    return ".".join(parts[: numbers[0] + 1]) if numbers else parts[0] if len(parts) > 1 else ""


def starts(layers: Sequence[str]) -> list[tuple[int, str]]:
    """(place of its first layer, name) of every module, in the order of the layers; without a name at the top level.

    >>> starts(["stem.conv", "stem.relu", "blocks.0.conv", "classifier"])
    [(0, 'stem'), (2, 'blocks.0'), (3, '')]
    """
    groups = module_groups(layers)
    return [(i, g) for i, g in enumerate(groups) if i == 0 or g != groups[i - 1]]
