"""Documents of two runs side by side: the verdict in a sentence, and the tables behind it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pandas as pd

from qnb.columns import DIFF, LAYER, LOST, ONLY_A, ONLY_B, SAME_DB, UNKNOWN, WON, title
from qnb.document import Document, Facts, Table
from qnb.text import amount, count, decibel, interval, metric_text, size
from qnb.workflow.verdict import SCORE

if TYPE_CHECKING:
    from qnb.workflow.diff import Diff

BETTER, WORSE, EQUAL, NONE, NO_INTERVAL = "better", "worse", "same", "none", "unknown"
TONES = {BETTER: "good", WORSE: "bad"}
MOST = 10
"""Rows of a table in the document."""
FORMS = {
    "size_bytes": size,
    "activation_bytes": size,
    "macs": count,
    "bops": count,
    "file_bytes": size,
    "latency_ms": lambda value: f"{value:.3g} ms",
    "seconds": lambda value: f"{value:.3g} s",
}
_TITLES = {"size_bytes": "size", "activation_bytes": "activations", "file_bytes": "file", "latency_ms": "latency"}


def verdict(diff: Diff) -> str:
    """Of run b, by the metric; see `Diff.verdict`."""
    drop = diff.metric
    if drop is not None and not drop.value and _nothing_else(diff):
        return EQUAL
    if drop is None or (math.isnan(drop.low) and drop.value):
        return NO_INTERVAL
    return BETTER if drop.high < 0 else WORSE if drop.low > 0 else NONE


def _nothing_else(diff: Diff) -> bool:
    """Whether samples, layers, encodings and costs are the same."""
    gains = diff.layers[["own_gain_db", "gain_db"]].fillna(0.0).to_numpy()
    one_has = bool(set(diff.layers["change"]) & {ONLY_A, ONLY_B})
    costs = [diff.costs[name].iloc[-1] for name in FORMS if name not in diff.unlike]
    costs = any(not pd.isna(value) and value for value in costs)
    if len(diff.samples) or gains.any() or one_has or costs:
        return False
    return diff.encodings is None or diff.encodings.empty


def sentence(diff: Diff, *, encodings: bool = True) -> str:
    """The verdict, then metric, layers, encodings unless they are not wanted, and size."""
    found = verdict(diff)
    if found == EQUAL:
        return f"{diff.a} and {diff.b}: no difference"
    parts = [_layers(diff), _encodings(diff) if encodings else "", _size(diff)]
    first = {
        BETTER: f"{diff.b} is better than {diff.a}: ",
        WORSE: f"{diff.b} is worse than {diff.a}: ",
        NONE: f"{diff.b} against {diff.a}: no measurable difference in the metric",
        NO_INTERVAL: f"{diff.b} against {diff.a}: ",
    }[found]
    return "; ".join([first + _metric(diff, found), *filter(None, parts)])


def _metric(diff: Diff, found: str) -> str:
    drop = diff.metric
    if drop is None:
        return "the metrics do not compare, as only one is better when higher"
    if found == NO_INTERVAL:
        said = f"the metric is {amount(abs(drop.value))} {'worse' if drop.value > 0 else 'better'}"
        return f"{said} (no interval to judge it by: {SCORE})"
    if math.isnan(drop.low):
        return " (it is the same)"
    about = [interval(drop.low, drop.high) if found == WORSE else interval(0.0 - drop.high, 0.0 - drop.low)]
    if drop.p_value is not None and not math.isnan(drop.p_value):
        about.append(f"p = {drop.p_value:.2g}")
    about.append(samples(diff) if drop.paired else "not paired")
    if found == NONE:
        return f" (gain {amount(0.0 - drop.value)}, {', '.join(about)})"
    return f"{'gains' if found == BETTER else 'loses'} {amount(abs(drop.value))} ({', '.join(about)})"


def samples(diff: Diff) -> str:
    """How many changed, and how."""
    better = list(diff.samples["change"]).count(BETTER)
    worse = len(diff.samples) - better
    if not better + worse:
        return "no sample changed"
    return f"{better:,} of {diff.scores[0].n:,} samples better, {worse:,} worse"


def _layers(diff: Diff) -> str:
    counts = diff.layers["change"].value_counts()
    won, lost, total = counts.get(WON, 0), counts.get(LOST, 0), len(diff.layers)
    if not total or counts.get(UNKNOWN, 0) == total:
        return ""
    only = [f"{counts[c]} only in {name}" for c, name in ((ONLY_A, diff.a), (ONLY_B, diff.b)) if c in counts]
    if not (won or lost):
        return ", ".join([f"no layer changed by {SAME_DB:g} dB or more", *only])
    return ", ".join([f"{won or 'none'} of {total:,} layers won, {lost or 'none'} lost", *only])


def _encodings(diff: Diff) -> str:
    if diff.encodings is None:
        return ""
    changed = len(diff.encodings)
    return f"{changed:,} of {diff.encodings_compared:,} encodings changed" if changed else "the same encodings"


def _size(diff: Diff) -> str:
    before, after = diff.costs["size_bytes"].iloc[:2]
    return "the same size" if before == after else f"size {size(before)} → {size(after)}"


def document(diff: Diff) -> Document:
    """The sentence, the metric, the layers that changed most, costs, settings, encodings, samples."""
    facts = {"metric": " → ".join(metric_text(score.value) for score in diff.scores)}
    facts |= {"won most": _named(diff, WON), "lost most": _named(diff, LOST)}
    blocks = [Facts({k: v for k, v in facts.items() if v}), layers_table(diff), costs_table(diff)]
    if len(diff.settings):
        heads = dict(zip("ab", _heads(diff), strict=True))
        blocks.append(Table(diff.settings.rename(columns=heads), "Made with", 2 * MOST))
    if diff.encodings is not None and len(diff.encodings):
        blocks.append(encodings_table(diff, diff.encodings))
    if len(diff.samples):
        blocks.append(Table(diff.samples, f"Samples that changed ({_which(diff)})", MOST))
    tone = TONES.get(verdict(diff), "neutral")
    return Document("diff", sentence(diff), tuple(block for block in blocks if block), tone)


def _heads(diff: Diff) -> tuple[str, str]:
    """Heads of columns: no two are alike, whatever the runs are called."""
    return f"a: {diff.a}", f"b: {diff.b}"


def _which(diff: Diff) -> str:
    return ", ".join(_heads(diff))


def _named(diff: Diff, change: str) -> str:
    """The three layers that won or lost most."""
    rows = [row for row in most_changed(diff.layers) if row["change"] == change]
    unknown = all(math.isnan(own) for own in diff.layers["own_gain_db"])
    column = "gain_db" if unknown else "own_gain_db"
    return ", ".join(f"{row[LAYER]} {gain_text(row, column)}" for row in rows[:3])


def gain_text(row: dict, column: str) -> str:
    """A layer's gain; where one run is lossless or overflows, from what to what."""
    if math.isfinite(row[column]):
        return f"{row[column]:+.1f} dB"
    kind = "own" if column.startswith("own") else "sqnr"
    return f"{decibel(row[f'{kind}_a_db'])} → {decibel(row[f'{kind}_b_db'])}"


def most_changed(layers: pd.DataFrame) -> list[dict]:
    """Rows, those of the largest gain or loss first; what was not measured last."""
    gains = zip(layers["own_gain_db"], layers["gain_db"], strict=True)
    sizes = [abs(gain if math.isnan(own) else own) for own, gain in gains]
    order = sorted(range(len(layers)), key=lambda i: -math.inf if math.isnan(sizes[i]) else sizes[i], reverse=True)
    return layers.iloc[order].to_dict("records")


def layers_table(diff: Diff) -> Table | None:
    """The layers that won or lost most, and those that one run has."""
    rows = [row for row in most_changed(diff.layers) if row["change"] in (WON, LOST, ONLY_A, ONLY_B)]
    if not rows:
        return None
    known = [c for c in DIFF if c != "module" and not (c.startswith("precision_") and not any(r[c] for r in rows))]
    caption = f"Layers that changed by {SAME_DB:g} dB or more, the most first ({len(rows)} of {len(diff.layers)}"
    return Table(pd.DataFrame(rows[:MOST], columns=known), f"{caption}; {_which(diff)})", MOST)


def costs_table(diff: Diff) -> Table:
    """A row per cost: of both, and what the difference is."""
    rows = []
    for name, form in FORMS.items():
        a, b, difference = diff.costs[name]
        if not (pd.isna(a) and pd.isna(b)):
            texts = ["" if pd.isna(v) else form(v) for v in (a, b)]
            rows.append((_TITLES.get(name, title(name)), *texts, _difference(diff, name, a, difference)))
    return Table(pd.DataFrame(rows, columns=["cost", *_heads(diff), "difference"]), "What each costs", 2 * MOST)


def _difference(diff: Diff, name: str, before: float, difference: float) -> str:
    """A difference as text, with its share; none where it is within what a timing varies by."""
    if name in diff.unlike:
        return diff.unlike[name]
    if pd.isna(difference):
        return ""
    if not difference:
        return "none"
    said = f"{'+' if difference > 0 else '-'}{FORMS[name](abs(difference))}"
    return f"{said} ({100 * difference / before:+.0f} %)" if before else said


def encodings_table(diff: Diff, encodings: pd.DataFrame) -> Table:
    """The encodings that changed most: by range, then others. Those of biases follow from the others."""
    rows = [row for row in encodings.to_dict("records") if row["kind"] != "bias"]
    change = "range_change_percent"
    rows.sort(key=lambda row: 0.0 if math.isnan(row[change]) else -abs(row[change]))
    shown = ["tensor", "kind", "change", "bits_a", "bits_b", "min_a", "max_a", "min_b", "max_b", "range_change_percent"]
    caption = f"Encodings that changed, the largest change of range first ({len(encodings)} of "
    caption += f"{diff.encodings_compared}, biases included; {_which(diff)})"
    percent = {"range_change_percent": lambda value: f"{value:+.3g} %"}
    return Table(pd.DataFrame(rows[:MOST], columns=shown), caption, MOST, percent)
