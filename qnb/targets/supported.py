"""Which precisions a target runs, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qnb.numerics import FloatGrid, Grid, Precision
from qnb.targets.target import Target, get

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("precision", "weights", "activations", "note", "verified")
_FLOATS = {"fp16": "float16", "bf16": "bfloat16"}


def supported(target: str | Target) -> pd.DataFrame:
    """What a target runs, one row per precision.

    Args:
        target: a name (`qnb.targets.TARGETS`) or a `Target`.

    Returns:
        columns ``precision``; ``weights`` and ``activations``: how they are stored; ``note``: "" where there is
        nothing to say; ``verified``: the program that qnb's tests run the precision with, "" where they do not.

    Raises:
        TargetError: no such target.

    >>> supported("htp-v75").set_index("precision").loc["w8a16", ["weights", "activations"]].tolist()
    ['int8 per channel', 'uint16']
    """
    import pandas as pd

    target = get(target)
    rows = [
        (name, *_stored(Precision.parse(name)), target.notes.get(name, target.notes.get("*", "")), target.verified_by)
        for name in target.precisions
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def runs(target: str | Target, precision: str | Precision, weights: bool = True) -> bool:
    """Whether a target runs a layer at a precision, whatever the scales' granularity.

    Args:
        weights: whether the layer has any; without, only its output counts.

    >>> runs("htp-v75", "w4a8"), runs("htp-v75", "w3a8"), runs("htp-v75", "w3a8", weights=False)
    (True, False, True)
    """
    target, wanted = get(target), Precision.parse(precision)
    known = [Precision.parse(name) for name in target.precisions]
    return (
        target.accepts_any_precision
        or not known
        or any(
            _grid(wanted.activations) == _grid(p.activations)
            and (not weights or _grid(wanted.weights) == _grid(p.weights))
            for p in known
        )
    )


def _stored(precision: Precision) -> tuple[str, str]:
    """Weights and activations as files hold them: activations are unsigned there."""
    weights, activations = precision.weights, precision.activations
    per = f" per {weights.granularity}" if isinstance(weights, Grid) else ""
    unsigned = f"uint{activations.bits}" if isinstance(activations, Grid) else _grid(activations)
    return _grid(weights) + per, unsigned


def _grid(grid: Grid | FloatGrid | None) -> str:
    if grid is None:
        return "float32"
    return _FLOATS.get(grid.name, grid.name) if isinstance(grid, FloatGrid) else f"int{grid.bits}"
