"""Which layers change their precision together, and between what they may choose."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qnb.arguments import is_number
from qnb.errors import CalibrationError, InputError, PrecisionError
from qnb.numerics import Grid, Precision
from qnb.sim.build import activation_grid, weight_grid
from qnb.sim.limits import refuse_unsupported
from qnb.targets import runs

if TYPE_CHECKING:
    from qnb.sim.quantizer import Quantizer
    from qnb.sim.quantsim import QuantSim

CANDIDATES = ("w16a16", "w8a16", "w8a8", "w4a16", "w4a8")
"""Where none are given: those of them that the target runs."""


@dataclass(frozen=True)
class Group:
    """Layers whose quantizers move together.

    Args:
        layers: in graph order; inputs count as layers.
        activations, weights: keys of their quantizers.
        options: precisions that differ in at least one of its grids; of equal ones the first stands for all.
        option_of: per candidate, the place of the option that stands for it.
    """

    layers: tuple[str, ...]
    activations: tuple[str, ...]
    weights: tuple[str, ...]
    options: tuple[Precision, ...]
    option_of: tuple[int, ...]


def parse(sim: QuantSim, candidates: Iterable[str | Precision] | None, operation: str) -> tuple[Precision, ...]:
    """The candidates, each once.

    Raises:
        PrecisionError: floats, or fewer than two.
    """
    if candidates is None:
        candidates = [name for name in CANDIDATES if runs(sim.target, name)]
    if isinstance(candidates, str | Precision):
        candidates = [candidates]
    found = tuple(dict.fromkeys(Precision.parse(c) for c in candidates))
    for precision in found:
        if not (isinstance(precision.weights, Grid) and isinstance(precision.activations, Grid)):
            raise PrecisionError(operation, f"candidate {precision.name}", "use integers for both, for example w8a16")
    if len(found) < 2:
        raise PrecisionError(
            operation, f"{len(found)} candidate(s)", "give at least two, for example ['w8a16', 'w4a8']"
        )
    return found


def layer_groups(
    sim: QuantSim,
    candidates: Sequence[Precision],
    layers: str | Iterable[str] | None = None,
    operation: str = "mixed_precision",
) -> list[Group]:
    """The groups in graph order: layers that share an activation quantizer (concat, a tied resize) are one.

    Args:
        layers: a name, a glob or a list of them; None means all, inputs included. Layers with a quantizer that is in
            floating point or frozen are left out.

    Raises:
        TargetError: the target does not run a layer at a candidate.
        PrecisionError: no layer is left.
        CalibrationError: a quantizer without a range that another grid could be made of.
    """
    parts = movable(sim, candidates, layers, operation)
    _check_ranges(sim, {key for _, keys, _ in parts for key in keys}, operation)
    return [Group(*map(tuple, part), *_options(sim, candidates, part[1], part[2])) for part in parts]  # pyright: ignore[reportCallIssue]


def movable(
    sim: QuantSim, candidates: Sequence[Precision], layers: str | Iterable[str] | None, operation: str
) -> list[tuple[list[str], list[str], list[str]]]:
    """(layers, activation keys, weight keys) of what changes together, if it can have the candidates; the sim need not
    be calibrated. Args and errors: as for `layer_groups`."""
    named = sim.named(layers, operation)
    chosen = [name for name in layer_order(sim) if name in named]
    parts = [part for part in _connected(sim, chosen) if all(_movable(q) for q in _quantizers(sim, *part))]
    if not parts:
        raise PrecisionError(
            operation, "no layer on integer grids", "start from an integer precision, for example w8a16"
        )
    for precision in candidates:
        refuse_unsupported(sim, [name for names, _, _ in parts for name in names], precision, operation)
    return parts


def layer_order(sim: QuantSim) -> list[str]:
    """Inputs, constants that are operands, and layers, in graph order."""
    place = {node.name: i for i, node in enumerate(sim.graph_module.graph.nodes)}
    sites = [(place[site.first.name], site.layer) for site in sim.plan.activations.values()]
    rows = sorted([*sites, *((place[g.output], g.layer) for g in sim.groups)])
    return list(dict.fromkeys(layer for _, layer in rows))


def _connected(sim: QuantSim, layers: list[str]) -> list[tuple[list[str], list[str], list[str]]]:
    """(layers, activation keys, weight keys) of each component of layers that share a key."""
    found: list[tuple[list[str], set[str]]] = []
    for layer in layers:
        keys = sim.output_keys({layer})
        touched = [part for part in found if part[1] & keys]
        merged = [name for part in touched for name in part[0]] + [layer], keys.union(*(part[1] for part in touched))
        at = found.index(touched[0]) if touched else len(found)
        found = [part for part in found if part not in touched]
        found.insert(at, merged)
    return [
        (names, sorted(keys), [k for name in names for k in sim.plan.weights_of.get(name, ())]) for names, keys in found
    ]


def _quantizers(sim: QuantSim, _: list[str], activations: list[str], weights: list[str]):
    return [*(sim.activation(k) for k in activations), *(sim.weight(k) for k in weights)]


def _movable(quantizer: Quantizer) -> bool:
    """On an integer grid, or switched off, where nothing changes; and not frozen."""
    return (isinstance(quantizer.grid, Grid) or not quantizer.enabled) and not quantizer.frozen


def _options(
    sim: QuantSim, candidates: Sequence[Precision], activations: list[str], weights: list[str]
) -> tuple[tuple[Precision, ...], tuple[int, ...]]:
    """(precisions with different grids, place of each candidate's among them)."""
    found: dict[tuple, Precision] = {}
    grids = []
    for precision in candidates:
        own = [activation_grid(sim.plan.activations[k], precision) for k in activations]
        own += [weight_grid(sim.plan.weights[k], sim.weight_tensor(k).shape, precision) for k in weights]
        grids.append(tuple(own))
        found.setdefault(grids[-1], precision)
    return tuple(found.values()), tuple(list(found).index(g) for g in grids)


def _check_ranges(sim: QuantSim, keys: set[str], operation: str) -> None:
    for key in keys:
        quantizer, site = sim.activation(key), sim.plan.activations[key]
        counted = quantizer.statistics is not None and quantizer.statistics.count
        if quantizer.enabled and site.fixed is None and not counted and quantizer.minimum is None:
            raise CalibrationError(operation, f"{site.layer!r}, whose range is not known", "calibrate the sim again")


def apply_choice(sim: QuantSim, groups: Sequence[Group], choice: Sequence[int]) -> None:
    """Give each group its option; encodings follow from the statistics of the last calibration."""
    wanted: dict[Precision, list[str]] = {}
    for group, option in zip(groups, choice, strict=True):
        wanted.setdefault(group.options[option], []).extend(group.layers)
    for precision, layers in wanted.items():
        sim.set_precision(layers, precision)


def check_budget(budget: float, lowest: float, highest: float, operation: str) -> float:
    """The budget in the cost's units; up to 1 it is a share of what the most expensive candidate costs in all layers.

    Raises:
        InputError: not positive, or below the lowest cost.

    >>> check_budget(0.5, 10.0, 100.0, "example"), check_budget(70, 10.0, 100.0, "example")
    (50.0, 70.0)
    """
    if not (is_number(budget) and budget > 0):
        raise InputError(operation, f"budget={budget!r}", "give a positive cost, or a share of the highest such as 0.5")
    found = float(budget * highest if budget <= 1 else budget)
    if found < lowest:
        raise InputError(
            operation,
            f"a budget of {found:.4g}, below the lowest possible cost of {lowest:.4g}",
            f"allow {lowest / highest:.2g} of the highest, or add lower candidates",
        )
    return found
