"""Documents of layers: the comparison of runs, one layer, the layer explorer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from qnb.document import Document, Facts, Table, Text
from qnb.sim import tables
from qnb.text import count, decibel, number, percent
from qnb.workflow.documents.figures import figure, histogram
from qnb.workflow.names import FP32

if TYPE_CHECKING:
    import pandas as pd

    from qnb.measures import LayerProfile
    from qnb.workflow.run import Run
    from qnb.workflow.workflow import Workflow

SHOWN = ["layer", "op", "sqnr_db", "own_sqnr_db", "saturated_fraction", "fp32_min", "fp32_max"]
ROWS = 12
"""Of the tables of channels and tokens."""
FORMS = {"sqnr_db": decibel, "own_sqnr_db": decibel, "saturated_fraction": percent}


def comparison(frames: Mapping[str, pd.DataFrame]) -> Document:
    return Document("comparison", "FP32 vs QuantSim", tuple(worst(n, f) for n, f in frames.items()))


def worst(name: str, frame: pd.DataFrame) -> Table:
    """The layers with the largest own error."""
    caption = f"{name}: the layers with the largest own error (of {len(frame)})"
    return Table(frame.nsmallest(5, "own_sqnr_db")[SHOWN], caption, 12, FORMS)


def comparison_text(frames: Mapping[str, pd.DataFrame]) -> str:
    lines = []
    for name, frame in frames.items():
        worst = frame.nsmallest(3, "own_sqnr_db")
        named = ", ".join(f"{r.layer} {decibel(r.own_sqnr_db)}" for r in worst.itertuples())  # pyright: ignore[reportAttributeAccessIssue]
        lines.append(f"{name}: {len(frame)} layers; largest own error: {named}")
    return "\n".join(lines)


def layer_figures(flow: Workflow, layer: str) -> pd.DataFrame:
    """A selected layer's figures in the selected run, and in the one it is compared with: a DataFrame of text."""
    import pandas as pd

    found, clipped = {"": list(_LAYER_FORMS)}, {}
    for name in filter(None, (flow.selection.run, flow.selection.compared_to)):
        run = flow[name]
        row = run.comparison.set_index("layer", drop=False).loc[layer]
        bits = _bits(run, layer)
        found[name] = [form(row, bits) for form in _LAYER_FORMS.values()]
        clipped[name] = run.clipped.get(layer)
    if any(clipped.values()):
        found[""].append("values clipped in evaluation")
        for name, share in clipped.items():
            found[name].append("" if flow[name].clipping is None else percent(share or 0.0))
    return pd.DataFrame(found)


def _bits(run: Run, layer: str) -> str:
    if run.sim is None:
        return ""
    group = next(g for g in run.sim.groups if g.layer == layer)
    found = zip(tables.layer_bits(run.sim, group), ("weights", "output"), strict=True)
    return ", ".join(f"{bits} ({what})" for bits, what in found if isinstance(bits, int))


_LAYER_FORMS = {
    "op": lambda row, bits: row.op,
    "bits": lambda row, bits: bits,
    "SQNR, accumulated": lambda row, bits: decibel(row.sqnr_db),
    "SQNR, own error": lambda row, bits: decibel(row.own_sqnr_db),
    "QuantSim values clipped": lambda row, bits: percent(row.saturated_fraction),
    "largest error": lambda row, bits: number(row.max_abs_error),
    "mean squared error": lambda row, bits: number(row.mse),
    "cosine": lambda row, bits: f"{row.cosine:.5f}",
    "FP32 range": lambda row, bits: f"{row.fp32_min:.3g} to {row.fp32_max:.3g}",
    "values compared": lambda row, bits: count(row.numel),
}


def distribution(profile: LayerProfile) -> tuple:
    """Blocks: how the values of a layer are distributed, in figures, and its channels and tokens as tables."""
    import pandas as pd

    used = "not counted" if profile.levels is None else f"{count(profile.levels_used or 0)} of {count(profile.levels)}"
    blocks: list = [
        Facts(
            {
                "kurtosis (FP32)": number(profile.kurtosis),
                "FP32 values clipped": percent(profile.clipped_fraction),
                "QuantSim values clipped": percent(profile.saturated_fraction),
                "levels used": used,
                "effective bits": number(profile.effective_bits) if profile.levels else "not counted",
            }
        )
    ]
    for what, table, more in (
        ("Channels", profile.channel_table, profile.channels_left_out),
        ("Tokens", profile.tokens, profile.tokens_left_out),
    ):
        if isinstance(table, pd.DataFrame):
            lowest = table.nsmallest(ROWS, "sqnr_db")
            left_out = f"; {count(more)} more are in no table" if more else ""
            caption = f"{what}: the {len(lowest)} with the lowest SQNR of {count(len(table))}{left_out}"
            blocks.append(Table(lowest, caption, ROWS, FORMS))
    return tuple(blocks)


def explorer(flow: Workflow) -> Document:
    """The layer explorer as a page: bars, the weakest layers, why the run loses, the selected layer's values."""
    from qnb import charts

    selection = flow.selection
    runs = {n: flow[n].comparison for n in (selection.run, selection.compared_to) if n is not None}
    said = [Text(flow.diff(*reversed(runs)).headline())] if len(runs) == 2 and FP32 not in runs else []
    blocks = [*said, figure(charts.layer_sqnr(runs, own=len(runs) == 1)), *(worst(n, f) for n, f in runs.items())]  # pyright: ignore[reportArgumentType]
    if selection.run in flow.diagnoses:
        why = flow.diagnoses[selection.run].document()
        blocks += [Text(why.title, why.tone), *why.blocks]
    if selection.layer is not None:
        if flow.profiles.of(flow[selection.run]) is not None:  # pyright: ignore[reportArgumentType]
            profile = flow.profile(selection.run)[selection.layer]  # pyright: ignore[reportArgumentType]
            blocks.append(figure(histogram(profile, f"{selection.run}, {selection.layer}")))
        blocks.append(Table(layer_figures(flow, selection.layer), selection.layer, 40))
    return Document("explorer", f"Layers of {' and '.join(runs)}", tuple(blocks))
