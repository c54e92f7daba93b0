"""What an input sample is shown as: a picture, a signal, tokens, or what the user's own function makes of it."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from qnb.arguments import short
from qnb.document import Figure
from qnb.errors import InputError, QnbError
from qnb.graph.structure import flatten
from qnb.workflow.documents.figures import figure, figure_json, figure_title, picture

if TYPE_CHECKING:
    import plotly.graph_objects as go

TOKENS, CHARACTERS = 48, 160
"""Of a sample at most so many tokens and characters are shown."""
PICTURE = (1, 3, 4)
"""Channels of a picture."""


@dataclass(frozen=True)
class SampleView:
    """One form is set, or none.

    Args:
        text: words or tokens.
        drawn: a PNG file, or a signal ``[channels, points]``.
        figure: a Plotly figure.
    """

    text: str = ""
    drawn: bytes | np.ndarray | None = None
    figure: Any = None


class Picture(Figure):
    """A figure of samples: pages get its picture. As data it is its words: a document holds no images."""

    def json(self) -> dict:
        return {"type": "text", "text": self.alt, "tone": "neutral"}


def drawn(chart: go.Figure | None, views: Iterable[SampleView]) -> list[go.Figure]:
    """Samples as Plotly figures: pictures and signals in one, and those that the user's function made."""
    return [f for f in (chart, *(v.figure for v in views)) if f is not None]


def pictures(chart: go.Figure | None, views: Iterable[SampleView]) -> list[Picture]:
    """The same as blocks of a document."""
    own = [] if chart is None else [figure(chart)]
    blocks = [Picture(f.figure, f.alt, f.picture) for f in own]
    return blocks + [Picture(figure_json(v.figure), figure_title(v.figure)) for v in views if v.figure is not None]


def view(sample: Any, show: Callable[[Any], Any] | None, operation: str, name: str) -> SampleView:
    """How a sample is shown.

    Args:
        sample: as the model takes it, a batch of one.
        show: the user's function, given the sample without its batch dimension; None shows it by what it is.
        name: of the sample, for errors.

    Raises:
        InputError: ``show`` raised.
    """
    leaves, nest = flatten(sample, "input")
    alone = [x[0] if x.dim() and x.shape[0] == 1 else x for x in leaves]
    if show is None:
        return next((found for x in alone if (found := _natural(x)) is not None), SampleView(_shapes(alone)))
    try:
        made = show(nest.build(alone))
        return _view(made)
    except QnbError:
        raise
    except Exception as error:
        received = f"show(sample), which raised {type(error).__name__}: {error} for {name}"
        remedy = "it gets one sample without its batch dimension, and returns text or something to display"
        raise InputError(operation, received, remedy) from error


def _natural(x: torch.Tensor) -> SampleView | None:
    """By dtype and shape; None where neither says how."""
    x = x.detach().cpu()
    if x.dim() == 3 and x.shape[0] in PICTURE and min(x.shape) > 0 and max(x.shape[1:]) > 1:
        return SampleView(drawn=picture(x.double().numpy()))
    if x.dtype == torch.bool or not x.numel():
        return None
    if not x.is_floating_point() and not x.is_complex():
        ids = x.flatten().tolist()
        more = f" … ({len(ids)} tokens)" if len(ids) > TOKENS else ""
        return SampleView(" ".join(map(str, ids[:TOKENS])) + more) if x.dim() == 1 else None
    if x.is_floating_point() and x.dim() in (1, 2) and x.shape[-1] > 1:
        return SampleView(drawn=x.reshape(-1, x.shape[-1]).double().numpy())
    return None


def _view(made: Any) -> SampleView:
    """What the user's function returned, in a form that needs no kernel."""
    if isinstance(made, str):
        return SampleView(_cut(made))
    numbers = isinstance(made, np.ndarray) and made.dtype.kind in "biuf"
    tensor = torch.from_numpy(np.ascontiguousarray(made)) if numbers else made
    if isinstance(tensor, torch.Tensor):
        return _natural(tensor) or SampleView(_shapes([tensor]))
    if hasattr(made, "to_plotly_json") and hasattr(made, "layout"):
        return SampleView(figure=made)
    save, to_png = getattr(made, "savefig", None), getattr(made, "_repr_png_", None)
    if save is not None:
        file = io.BytesIO()
        save(file, format="png")
        return SampleView(drawn=file.getvalue())
    drawn = to_png() if to_png is not None else None
    drawn = drawn[0] if isinstance(drawn, tuple) else drawn
    return SampleView(drawn=drawn) if isinstance(drawn, bytes) else SampleView(short(made))


def _shapes(leaves: list[torch.Tensor]) -> str:
    return ", ".join(
        f"{str(x.dtype).removeprefix('torch.')} {' × '.join(map(str, x.shape)) or 'number'}" for x in leaves
    )


def _cut(text: str) -> str:
    return text if len(text) <= CHARACTERS else text[: CHARACTERS - 1] + "…"
