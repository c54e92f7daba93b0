"""SmoothQuant: move the outliers of activations into the weights that read them (arXiv 2211.10438)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch

from qnb.arguments import is_number, short
from qnb.errors import InputError
from qnb.methods.auto import Auto, with_norms
from qnb.methods.layerwise.layers import integer_layers
from qnb.methods.method import method
from qnb.methods.reporting.progress import MethodProgress
from qnb.methods.reporting.result import Found
from qnb.methods.rescaling.rescale import Magnitudes, Rescaling
from qnb.progress import Report

if TYPE_CHECKING:
    from qnb.sim.quantsim import QuantSim

ALPHAS = [i / 10 for i in range(11)]
OPERATION = "qnb.methods.smooth"


def _fits(sim: QuantSim, given: dict) -> None:
    alpha = given["alpha"]
    if alpha is not None and not (is_number(alpha) and 0 <= alpha <= 1):
        raise InputError(OPERATION, f"alpha={short(alpha)}", "use 0 to 1, or None to search")
    integer_layers(sim, given["layers"], OPERATION)


@method("smooth", "SmoothQuant", "rescale", fits=_fits, auto=Auto(20, with_norms, removes=(0.0, 0.3), passes=25))
def smooth(
    sim: QuantSim,
    batches: Iterable,
    *,
    alpha: float | None = None,
    layers: str | Iterable[str] | None = None,
    progress: Report | None = None,
) -> Found:
    """Divide each channel between two layers by a scale that evens out activations, and give it to the weights.

    ``s_j = max|x_j|^alpha / max|w_j|^(1 - alpha)``: the norm or layer that makes x is divided by s, the layers that
    read it are multiplied, so the FP32 function stays the same. One s serves all readers (query, key and value of one
    norm). It is for activations at 8 bits or fewer, with one range for all channels; `scale_search` is for weights.

    Scales pass through everything that only moves, pools or mixes positions: heads of attention, ReLU, gates. Channels
    that something else reads too (a residual sum, GELU) keep scale 1; a layer with no other input stays as it is.

    Args:
        batches: unlabelled, as the model takes them; the scaled activations get new ranges from them, by the rule that
            they were calibrated with.
        alpha: None tries 0 to 1 in steps of 0.1 at each place, weights and activations quantized, and takes the best
            if the readers' outputs then have a smaller error than without scales. A number is used everywhere.
        layers: readers, by name, glob or a list of them; None means all. Those that share an input go along.

    Raises:
        InputError: an alpha outside 0 to 1; weights that are no longer the model's. PrecisionError: no integer weights.

    Source: Xiao et al. 2022, arXiv 2211.10438; the search is this package's.

    >>> import torch, qnb
    >>> norm, x = torch.nn.LayerNorm(8), torch.randn(64, 8)
    >>> with torch.no_grad(): _ = norm.weight[3].fill_(100.0)
    >>> model = torch.nn.Sequential(norm, torch.nn.Linear(8, 8)).eval()
    >>> sim = qnb.QuantSim(model, x, "w8a8").calibrate([x])
    >>> result = qnb.methods.smooth(sim, [x])
    >>> result.output_after_db > result.output_before_db
    True
    """
    search = Rescaling(sim, smoothing_scales, True, OPERATION)
    return search.run(
        batches, layers, ALPHAS if alpha is None else [alpha], alpha is not None, MethodProgress.of(progress)
    )


def smoothing_scales(of: Magnitudes, alpha: float) -> torch.Tensor:
    """``s_j = max|x_j|^alpha / max|w_j|^(1 - alpha)``; 1 where a channel or its weights are all zero.

    >>> ones = torch.ones(2)
    >>> smoothing_scales(Magnitudes(torch.tensor([16.0, 1.0]), ones, ones), 0.5)
    tensor([4., 1.])
    """
    scale = of.largest**alpha / of.weight ** (1 - alpha)
    return torch.where((of.largest > 0) & (of.weight > 0), scale, 1.0)
