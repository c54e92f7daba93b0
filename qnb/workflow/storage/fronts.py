"""A search's Pareto front as JSON and back: choices, costs, points, and what was measured of them.

Costs are stored as numbers, so a cost function of the user's own is not needed again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qnb import schema
from qnb.methods.precision.cache import SearchCache
from qnb.methods.precision.candidates import Group, layer_order
from qnb.methods.precision.choices import OPERATION, Choices
from qnb.methods.precision.front import Point, Problem
from qnb.methods.precision.precision_front import PrecisionFront
from qnb.numerics import Grid, Precision
from qnb.numerics.stored import PRECISION, precision_from_json, precision_to_json
from qnb.workflow.recovery.pareto_front import DECIDING, ParetoFront
from qnb.workflow.storage import tables, values
from qnb.workflow.storage.runs import SCORE, read_score, score
from qnb.workflow.storage.source import Source

if TYPE_CHECKING:
    from qnb.sim.quantsim import QuantSim
    from qnb.workflow.workflow import Workflow

_LIST = {"type": "array", "maxItems": schema.MANY}
_NAMES = schema.list_of(schema.TEXT)
_GROUP = schema.record(
    {"layers": _NAMES, "activations": _NAMES, "weights": _NAMES, "options": _LIST, "option_of": _LIST, "costs": _LIST}
)
_PAIR = schema.record({"groups": _LIST | {"minItems": 2, "maxItems": 2}, "costs": schema.list_of(_LIST)})
_COST = schema.FINITE | {"minimum": 0}
_OPTIONS = schema.table_of(values.ANY, {"enum": list(DECIDING)})
FRONT = schema.record(
    {
        "run": schema.TEXT,
        "options": _OPTIONS,
        "chosen": schema.COUNT,
        "seed": schema.WHOLE,
        "cost": schema.TEXT,
        "lowest": _COST,
        "highest": schema.FINITE | {"exclusiveMinimum": 0},
        "candidates": schema.list_of(PRECISION, 1000) | {"minItems": 2},
        "groups": schema.list_of(_GROUP) | {"minItems": 1},
        "pairs": schema.list_of(_PAIR),
        "points": schema.list_of(schema.record({"cost": _COST, "loss": _COST, "choice": _LIST})) | {"minItems": 1},
        "reference": schema.maybe(SCORE),
        "scores": schema.list_of(schema.record({"point": schema.COUNT, "score": SCORE})),
    }
)


def pack(found: ParetoFront) -> dict:
    front, choices = found.front, found.front.choices
    places = {precision: i for i, precision in enumerate(choices.candidates)}
    groups = [
        {
            "layers": list(g.layers),
            "activations": list(g.activations),
            "weights": list(g.weights),
            "options": [places[p] for p in g.options],
            "option_of": list(map(int, g.option_of)),
            "costs": np.asarray(cost, dtype=float).tolist(),
        }
        for g, cost in zip(choices.groups, choices.problem.cost, strict=True)
    ]
    pairs = [
        {"groups": [int(g), int(h)], "costs": np.asarray(cost, dtype=float).tolist()}
        for (g, h), cost in choices.problem.pairs.items()
    ]
    return {
        "run": found.run,
        "options": values.encode(found.options),
        "chosen": found.chosen,
        "seed": front.seed,
        "cost": choices.cost,
        "lowest": float(choices.lowest),
        "highest": float(choices.highest),
        "candidates": [precision_to_json(p) for p in choices.candidates],
        "groups": groups,
        "pairs": pairs,
        "points": [{"cost": p.cost, "loss": p.loss, "choice": list(p.choice)} for p in front.points],
        "reference": score(front.reference),
        "scores": [{"point": i, "score": score(s)} for i, s in front.scores.items()],
    }


def unpack(stored: dict, flow: Workflow, source: Source) -> ParetoFront:
    """The front of what `FRONT` allows, of a run that the workflow has.

    Raises:
        FileError: parts that do not match each other or the run's simulation.
    """
    sim = flow.runs[stored["run"]].sim
    if sim is None:
        raise source.error(f"a front of run {stored['run'][:80]!r}, which has no simulation")
    choices = _choices(stored, sim, source)
    points = [_point(p, choices, source) for p in stored["points"]]
    if any(a.cost > b.cost or a.loss <= b.loss for a, b in zip(points, points[1:], strict=False)):
        raise source.error("a front whose costs do not rise while its losses fall")
    front = PrecisionFront(choices, points, SearchCache(None, lambda: "", OPERATION), stored["seed"])
    _read_scores(front, stored, flow, source)
    found = ParetoFront(flow, stored["run"], front, values.decode(stored["options"], source))
    found.chosen = _within(stored["chosen"], len(points), source)
    return found


def _choices(stored: dict, sim: QuantSim, source: Source) -> Choices:
    candidates = tuple(precision_from_json(p, source.operation, source.remedy) for p in stored["candidates"])
    if not all(isinstance(grid, Grid) for p in candidates for grid in (p.weights, p.activations)):
        raise source.error("a front with candidates that are not on integer grids")
    groups = [_group(g, candidates, sim, source) for g in stored["groups"]]
    sizes = [len(g.options) for g in groups]
    costs = [_costs(g["costs"], size, source) for g, size in zip(stored["groups"], sizes, strict=True)]
    pairs = {}
    for pair in stored["pairs"]:
        g, h = (_within(i, len(groups), source) for i in pair["groups"])
        if g >= h or (g, h) in pairs or len(pair["costs"]) != sizes[g]:
            raise source.error("a front with costs of groups that are no pair")
        pairs[g, h] = np.stack([_costs(row, sizes[h], source) for row in pair["costs"]])
    problem = Problem([np.zeros(size) for size in sizes], costs, pairs)
    return Choices.known(sim, candidates, groups, stored["cost"], problem, stored["lowest"], stored["highest"])


def _group(stored: dict, candidates: tuple[Precision, ...], sim: QuantSim, source: Source) -> Group:
    known = {"layers": set(layer_order(sim)), "activations": sim.plan.activations, "weights": sim.plan.weights}
    for part, names in known.items():
        if unknown := [name for name in stored[part] if name not in names]:
            raise source.error(f"a front with {part} {unknown[0][:80]!r}, which its simulation does not have")
    options = [candidates[_within(i, len(candidates), source)] for i in stored["options"]]
    option_of = [_within(i, len(options), source) for i in stored["option_of"]]
    if len(option_of) != len(candidates):
        raise source.error("a front whose groups do not know all candidates")
    return Group(*(tuple(stored[part]) for part in known), tuple(options), tuple(option_of))  # pyright: ignore[reportCallIssue]


def _costs(stored: list, count: int, source: Source) -> np.ndarray:
    found = np.array(tables.numbers(stored, source))
    if len(found) != count or not np.isfinite(found).all() or (found < 0).any():
        raise source.error("a front with costs that are none")
    return found


def _point(stored: dict, choices: Choices, source: Source) -> Point:
    groups = choices.groups
    if len(stored["choice"]) != len(groups):
        raise source.error("a front with a point that does not choose for each group")
    chosen = [_within(i, len(g.options), source) for i, g in zip(stored["choice"], groups, strict=True)]
    cost = choices.problem.point(chosen).cost
    if not np.isclose(cost, stored["cost"], rtol=1e-9, atol=0.0):
        raise source.error("a front with a point that costs something else")
    return Point(stored["cost"], stored["loss"], tuple(chosen))


def _read_scores(front: PrecisionFront, stored: dict, flow: Workflow, source: Source) -> None:
    front.reference = read_score(stored["reference"], source)
    for row in stored["scores"]:
        front.scores[_within(row["point"], len(front), source)] = read_score(row["score"], source)
    if front.reference is None and front.scores:
        raise source.error("a front that was measured without its reference")
    if flow.evaluate is not None and front.reference is not None:  # what is known is not measured again
        known = {"fp32": front.reference} | {front.name(i): s for i, s in front.scores.items()}
        front.cache.of(flow.evaluate).update(known)


def _within(index, count: int, source: Source) -> int:
    if type(index) is not int or not 0 <= index < count:
        raise source.error(f"a place {index!r:.40} where there are {count}")
    return index
