"""Whether pairs of ops agree with the simulation: ``python -m tools.pairs [--draw N]``.

One op alone shows how it rounds. It does not show what a target makes of two: which it runs as one, whose encodings
have to be the same, which it refuses together. So each case here is a value that one op makes and another reads, or
two values that are joined. Many cases that have nothing in common make one graph; where the runtime refuses all of it,
it is halved until the case is found.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import onnx
import pandas as pd
import torch
from torch import nn

import qnb
from qnb.errors import QnbError
from qnb.graph import Captured, capture
from qnb.runtimes import OnnxRuntime, QnnHtp
from qnb.runtimes.fidelity import fidelity
from qnb.sim import limits
from qnb.targets import get
from tests.translations import kept
from tools import pair_ops
from tools.pair_ops import JOINS, MOVES, OPS, WEIGHTED, Join, Pair

ROOT = Path(__file__).parents[1]
TARGET, SOC = "htp-v75", "sm8650"
IN_ONE_GRAPH = 24
READ = """\
Each case is a value that one op makes and another reads (`pair`; `both`: it has a second reader; `behind`: it is made
of a convolution's output), or two values that are joined (`concat`, `stack`, `add`, `mul`). `move` is what happens to
it in between, `start` where the inputs begin, seen from zero. SQNR is of the runtime's values over their difference
from the simulation's, at the layer or output that agrees least, whose op is named. A case agrees from 45 dB on at
16-bit activations, from 25 dB at 8-bit ones.

With 4-bit weights at 16-bit activations it agrees from 40 dB on: there, HTP drops the low eight bits of the sum.
With x the input's codes, z its zero point, w the weight's codes and b the bias's, it computes
`256 * (floor(sum(x * w) / 256) + round(-z * sum(w) / 256) + trunc(b / 256))`, found by
comparing each channel's mean error. One layer has 54 dB and more; as the error is the same in a whole channel, the
mean of a channel keeps all of it."""
THROUGH = ("silu", "mish", "group norm", "rms norm", "hardswish", "gelu", "prelu")
"""Several ops for the target, or one that it may join with its neighbours: maker and reader are varied at once."""
LEAST_DB = {"w4a16": 40.0, "w8a16": 45.0, "w16a16": 45.0, "w8a8": 25.0, "w4a8": 25.0}
"""Agreement below it is wrong: less than the rounding of such codes explains."""
STARTS = {"around": lambda x: x, "at": torch.abs, "above": lambda x: x.abs() + 0.5}
"""Where inputs begin, seen from zero."""
READERS = ("conv", "matmul", "add", "relu", "softmax", "layer norm")
"""Those for which ranges and numbers of readers are varied too."""


@dataclass(frozen=True)
class Case:
    """One pair. ``kind`` is pair, both (the value has a second reader), behind (made of a convolution's output, which
    runtimes keep in another layout), or a join's name."""

    kind: str
    first: str
    second: str
    move: str = "nothing"

    def module(self) -> nn.Module:
        if self.kind in JOINS:
            return Join(self.first, self.second, self.kind, self.move)
        return Pair(self.first, self.second, self.move, self.kind == "both", self.kind == "behind")

    @property
    def variants(self) -> tuple[tuple[str, str], ...]:
        """(precision, where inputs start). Weights' bits matter to ops that have weights alone."""
        found = [("w16a16", "around"), ("w8a8", "around")]
        if self.kind == "pair" and self.move == "nothing":
            if self.first in WEIGHTED or self.second in WEIGHTED:
                found += [(precision, "around") for precision in ("w8a16", "w4a16", "w4a8")]
            if self.second in READERS:
                found += [(precision, start) for precision in ("w16a16", "w8a8") for start in ("at", "above")]
        return tuple(found)


def cases() -> Iterator[Case]:
    """All of them."""
    yield from (Case("pair", *names) for names in itertools.product(OPS, (*OPS, *MOVES)))
    yield from (Case("both", *names) for names in itertools.product(OPS, READERS))
    yield from (Case("concat", *names) for names in itertools.combinations_with_replacement((*OPS, "nothing"), 2))
    yield from (
        Case(join, first, second)
        for join in ("stack", "add", "mul")
        for first in OPS
        for second in ("conv", "softmax", "nothing")
    )
    for first, move in itertools.product(OPS, MOVES):
        if move != "nothing":
            yield from (Case(kind, first, "conv", move) for kind in ("pair", "behind", "concat"))
    yield from (Case("pair", first, "conv", through) for first in OPS for through in THROUGH)


class Together(nn.Module):
    """Cases side by side, each with inputs of its own."""

    def __init__(self, found: Iterable[Case]):
        super().__init__()
        self.cases = nn.ModuleList([case.module() for case in found])

    def forward(self, *inputs: torch.Tensor) -> list:
        return [case(*inputs[2 * i : 2 * i + 2]) for i, case in enumerate(self.cases)]


def measure(found: list[Case]) -> list[dict]:
    """A row for each case and variant: the state on each runtime, and how near the simulation is."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model, example = Together(found).eval(), tuple(torch.randn(pair_ops.SHAPE) for _ in range(2 * len(found)))
    try:
        captured = static(model, example)
    except QnbError:
        return _halves(found, measure)
    with kept():
        return [row for variant in found[0].variants for row in measure_variant(captured, found, example, variant)]


def static(model: nn.Module, example: tuple) -> Captured:
    """Captured with fixed sizes, which HTP needs anyway: with open ones the exporter takes three times as long."""
    return capture(model, example, dynamic_shapes=[None] * len(example))


def measure_variant(captured, found: list[Case], example: tuple, variant: tuple[str, str]) -> list[dict]:
    (precision, start), inputs, named = variant, tuple(STARTS[variant[1]](x) for x in example), {}
    try:
        sim = qnb.QuantSim(captured, precision=precision, target=TARGET)
        named = _named(sim)
        sim.calibrate([inputs])
        with tempfile.TemporaryDirectory() as folder:
            path = qnb.export_onnx(sim, Path(folder, "pairs.onnx"), integer_io=True)
            on_cpu = fidelity(sim, OnnxRuntime(path, threads=1), [inputs])
            runtime = QnnHtp(path, soc=SOC, threads=1, fallback=True)
            placed = runtime.placement()
            refused = _refused(path, placed[placed.provider == "CPU"])
            on_htp = fidelity(sim, runtime, [inputs])
    except Exception as error:
        if len(found) > 1:

            def again(half):
                inputs = example[2 * found.index(half[0]) :][: 2 * len(half)]
                return measure_variant(static(Together(half).eval(), inputs), half, inputs, variant)

            return _halves(found, again)
        reason = error.received if isinstance(error, QnbError) else f"{type(error).__name__}: {error}"
        return [
            asdict(found[0])
            | {
                "precision": precision,
                "start": start,
                "state": "refused",
                "note": reason[:200],
                "named": named.get(0, ""),
            }
        ]
    rows = []
    for index, case in enumerate(found):
        row = asdict(case) | {"precision": precision, "start": start, "note": refused.get(index, "")}
        for name, table in (("ort", on_cpu), ("htp", on_htp)):
            row[f"{name}_db"], row[f"{name}_where"] = _worst(table, index)
        wrong = min(row["htp_db"], row["ort_db"]) < LEAST_DB[precision]
        state = "refused" if index in refused else "wrong" if wrong else "agree"
        rows.append(row | {"state": state, "named": named.get(index, "")})
    return rows


def _halves(found: list, again: Callable) -> list[dict]:
    half = len(found) // 2
    return again(found[:half]) + again(found[half:])


def _named(sim) -> dict[int, str]:
    """Case -> what the target is known not to run of it, or only coarsely, at the sim's precision."""
    return {int(layer.split(".")[1]): limit.said(op) for layer, op, limit in limits.holding(sim)}


def _worst(table: pd.DataFrame, index: int) -> tuple[float, str]:
    """SQNR of the case's layer or output that agrees least, and which that is."""
    mine = table[table.layer.str.match(rf"(cases\.{index}(\.|$)|{index}(\.\d+)?$)")]
    if mine.empty:
        return float("inf"), ""
    worst = mine.loc[mine.sqnr_db.idxmin()]
    return round(float(worst.sqnr_db), 1), str(worst.op)


def _refused(path: Path, away: pd.DataFrame) -> dict[int, str]:
    """Case -> ops that HTP did not take. Cases share no value, so a node belongs to the case whose input it reaches."""
    owner = {f"input_{i}": i // 2 for i in range(2 * IN_ONE_GRAPH)}
    found: dict[int, list[str]] = {}
    names = set(away.node)
    for node in onnx.load(path).graph.node:
        cases = [owner[name] for name in node.input if name in owner]
        if cases:
            owner |= dict.fromkeys(node.output, cases[0])
            if node.name in names and node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
                found.setdefault(cases[0], []).append(node.op_type)
    return {index: ", ".join(dict.fromkeys(ops)) for index, ops in found.items()}


def graphs(wanted: Iterable[Case]) -> list[list[Case]]:
    """Cases that may be in one graph: those with the same variants."""
    alike: dict[tuple, list[Case]] = {}
    for case in wanted:
        alike.setdefault(case.variants, []).append(case)
    return [group[i : i + IN_ONE_GRAPH] for group in alike.values() for i in range(0, len(group), IN_ONE_GRAPH)]


def run(wanted: list[Case], processes: int = 2, data: Path | None = None) -> pd.DataFrame:
    """A row per case and variant."""
    groups, rows, start = graphs(wanted), [], time.perf_counter()
    # Not ProcessPoolExecutor: before Python 3.12 it hangs when a process has done its last task.
    with multiprocessing.get_context("spawn").Pool(processes, maxtasksperchild=8) as pool:
        for done, found in enumerate(pool.imap_unordered(measure, groups), 1):
            rows += found
            left = (time.perf_counter() - start) / done * (len(groups) - done)
            print(
                f"{done}/{len(groups)} {dict(Counter(r['state'] for r in rows))} {left / 60:.0f} min",
                file=sys.stderr,
                flush=True,
            )
            if data is not None:
                pd.DataFrame(rows).to_csv(data, index=False)
    return pd.DataFrame(rows)


def markdown(table: pd.DataFrame, seconds: float, drawn: str = "") -> str:
    """The whole document; ``drawn`` says what it is a part of."""
    table = table.assign(state=table.state.where(table.state.eq("agree") | table.named.eq(""), "refused by name"))
    counts = table.groupby(["kind", "precision"]).state.value_counts().unstack(fill_value=0)
    counts.loc[("all", ""), :] = counts.sum()
    rest = table[table.state.isin(["wrong", "refused"])]
    worst = table[table.state == "agree"].sort_values("htp_db")
    parts = [
        f"# Pairs of ops on HTP\n\n{READ}",
        f"{len(table)} rows{drawn}, on `{SOC}` ({get(TARGET).description}, emulated), in {seconds / 60:.0f} minutes.",
        "## How many agree",
        _lines(counts.astype(int).reset_index()),
        "## What does not",
        _lines(_short(rest)) if len(rest) else "Nothing.",
        "## What the target is known not to run, or only coarsely",
        _lines(
            pd.DataFrame(
                [
                    (", ".join(limit.ops), limit.where, limit.when, limit.said("it"), limit.remedy)
                    for limit in get(TARGET).limits
                ],
                columns=["ops", "where", "when", "what HTP does", "remedy"],
            )
        ),
        "## The lowest that agree, 16-bit activations",
        _lines(_short(worst[worst.precision.str.endswith("a16")][:15])),
        "## The lowest that agree, 8-bit activations",
        _lines(_short(worst[worst.precision.str.endswith("a8")][:15])),
        "## Each op, with whatever reads it: the lowest SQNR, dB",
        _lines(_by_op(table)),
        "Made by `python -m tools.pairs`.\n",
    ]
    return "\n\n".join(parts)


def _short(table: pd.DataFrame) -> pd.DataFrame:
    names = ["kind", "first", "second", "move", "precision", "start", "htp_db", "htp_where", "ort_db", "note"]
    return table[names]


def _by_op(table: pd.DataFrame) -> pd.DataFrame:
    pairs = table[table.kind.eq("pair") & table.move.eq("nothing") & table.state.eq("agree")]
    lowest = pairs.pivot_table(index="first", columns="precision", values="htp_db", aggfunc="min")
    return lowest.reset_index().fillna("")


def _lines(table: pd.DataFrame) -> str:
    """A table in Markdown."""
    rows = [f"| {' | '.join(map(str, table.columns))} |", "|" + "---|" * len(table.columns)]
    return "\n".join([*rows, *(f"| {' | '.join(map(str, row))} |" for row in table.itertuples(index=False))])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.pairs", description=__doc__.splitlines()[0])
    parser.add_argument("--draw", type=int, help="so many cases, drawn; all by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--data", type=Path, default=ROOT / "docs" / "pairs.csv")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "pairs.md")
    given = parser.parse_args(arguments)
    wanted, drawn = list(cases()), ""
    if given.draw:
        drawn = f" of {given.draw} cases, drawn from {len(wanted)}"
        wanted = random.Random(given.seed).sample(wanted, given.draw)
    start = time.perf_counter()
    table = run(wanted, given.processes, given.data)
    given.out.write_text(markdown(table, time.perf_counter() - start, drawn), encoding="utf-8")
    print(table.state.value_counts().to_string())
    return 0


if __name__ == "__main__":
    sys.exit(main())
