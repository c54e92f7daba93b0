"""Compare the outputs a cell has stored with those it gives now: none missing, none extra."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tests.notebook_rules.figures import compare_figures, compare_json
from tests.notebook_rules.markup import compare_markup
from tests.notebook_rules.numbers import compare_text

PLOTLY = "application/vnd.plotly.v1+json"
DOCUMENT = "application/vnd.qnb.v2+json"
BY_PRESENCE = frozenset({"application/vnd.jupyter.widget-view+json", "image/png", "image/jpeg"})
"""A widget's model id is random, and a picture's bytes depend on fonts; that they are there is compared."""


def compare_outputs(reference: list[Mapping], test: list[Mapping]) -> Iterator[str]:
    """Yield how a cell's outputs differ.

    Args:
        reference: nbformat 4 outputs of the stored notebook, streams joined by name.
        test: outputs of the same cell, run now.
    """
    if len(reference) != len(test):
        kinds = [[output["output_type"] for output in outputs] for outputs in (reference, test)]
        yield f"{len(reference)} outputs {kinds[0]} are now {len(test)} {kinds[1]}"
    for i, (a, b) in enumerate(zip(reference, test, strict=False)):
        where = f"output {i}"
        if a["output_type"] != b["output_type"]:
            yield f"{where}: {a['output_type']} is now {b['output_type']}"
        elif a["output_type"] == "stream":
            yield from _prefixed(f"{where} ({a['name']})", _compare_stream(a, b))
        elif a["output_type"] == "error":
            error, other = (f"{output['ename']}: {output['evalue']}" for output in (a, b))
            yield from _prefixed(f"{where} (error)", compare_text(error, other))
        else:
            yield from _prefixed(where, _compare_data(a["data"], b["data"]))


def _compare_stream(a: Mapping, b: Mapping) -> Iterator[str]:
    if a["name"] != b["name"]:
        yield f"{a['name']} is now {b['name']}"
    yield from compare_text(_text(a["text"]), _text(b["text"]))


def _compare_data(a: Mapping, b: Mapping) -> Iterator[str]:
    for mime in sorted(a.keys() ^ b.keys()):
        yield f"{mime} is {'missing' if mime in a else 'new'}"
    for mime in sorted((a.keys() & b.keys()) - BY_PRESENCE):
        yield from _prefixed(mime, _compare_mime(mime, a[mime], b[mime]))


def _compare_mime(mime: str, a, b) -> Iterator[str]:
    if mime == PLOTLY:
        return compare_figures(a, b)
    if mime == DOCUMENT:
        return _compare_documents(a, b)
    if not isinstance(a, str | list) or mime.endswith("json"):
        return compare_json(a, b)
    if mime in ("text/html", "image/svg+xml"):
        return compare_markup(_text(a), _text(b))
    return compare_text(_text(a), _text(b))


def _compare_documents(a: Mapping, b: Mapping) -> Iterator[str]:
    """A qnb document: its figures as figures, the rest as JSON."""
    for i, (x, y) in enumerate(zip(a.get("blocks", []), b.get("blocks", []), strict=False)):
        if "figure" in x and "figure" in y:
            yield from _prefixed(f"blocks[{i}]", compare_figures(x["figure"], y["figure"]))
    yield from compare_json(_without_figures(a), _without_figures(b))


def _without_figures(document: Mapping) -> dict:
    blocks = [{k: v for k, v in block.items() if k != "figure"} for block in document.get("blocks", [])]
    return {**document, "blocks": blocks}


def _text(value: str | list[str]) -> str:
    return value if isinstance(value, str) else "".join(value)


def _prefixed(where: str, differences: Iterator[str]) -> Iterator[str]:
    return (f"{where}: {difference}" for difference in differences)
