"""The contract of documents as a JSON Schema: what `qnb.document.MIME` carries, in outputs and in ``.qnb`` files.

Readers are in the JupyterLab extension (``labextension/src/contract.ts`` and ``sanitize.ts``), which keep to the same
bounds and hand nothing else on: leaves are text, figures are Plotly's bars and lines made of the names listed here.
A document holds nothing that is run or loaded from elsewhere.
"""

from __future__ import annotations

from qnb.document import VERSION
from qnb.schema import list_of, maybe, record

LONGEST_TEXT, LONGEST_CODE, MOST = 10_000, 200_000, 2_000
"""Characters of a text and of code, entries of a list."""
TRACES = ("bar", "scatter")
FIGURE_KEYS = tuple(
    """
    activecolor align annotations array arrayminus arrowcolor arrowhead arrowwidth automargin ax ay ayref b bargap
    barmode base bgcolor bordercolor categoryarray categoryorder cliponaxis color colorway constrain customdata dash
    dragmode dtick dx error_y exponentformat family fgcolor fill fillcolor fixedrange font gridcolor height
    hoverdistance hoverformat hoverinfo hoverlabel hovermode hovertemplate hovertext l layer layout legend legendgroup
    line linecolor margin marker mode modebar name namelength offsetgroup opacity orientation overlaying pad
    paper_bgcolor pattern plot_bgcolor r range rangemode remove scaleanchor shape shapes showarrow showgrid showlegend
    showspikes showticklabels side size solidity standoff subtitle symbol t template text textfont textposition
    thickness tickcolor tickfont tickformat ticklen tickmode ticks ticktext tickvals title type visible weight width
    x x0 x1 xanchor xaxis xref xshift y y0 y1 yanchor yaxis yaxis2 yref yshift zeroline zerolinecolor zerolinewidth
""".split()
)
"""Every name in a figure, at whatever depth."""
_DEEPEST = 12

_TEXT = {"type": "string", "maxLength": LONGEST_TEXT}
_CODE = {"type": "string", "maxLength": LONGEST_CODE}
_TONE = {"enum": ["neutral", "good", "warn", "bad"]}
_KEY = {"pattern": rf"^({'|'.join(FIGURE_KEYS)})\Z"}


def _figure_value(depth: int) -> dict:
    inner = _figure_value(depth - 1) if depth else False
    return {
        "type": ["null", "boolean", "number", "string", "array", "object"],
        "maxLength": 2_000,
        "maxItems": 200_000,
        "items": inner,
        "propertyNames": _KEY,
        "additionalProperties": inner,
    }


_VALUE = _figure_value(_DEEPEST)
_PART = {"type": "object", "propertyNames": _KEY, "additionalProperties": _VALUE}
_TRACE = _PART | {"properties": {"type": {"enum": [*TRACES]}}, "required": ["type"]}
_FIGURE = record({"data": list_of(_TRACE, 300)}, {"layout": _PART, "config": {"type": "object"}})
_STAGE = record(
    dict.fromkeys(("stage", "run", "mark", "metric", "drop", "size", "text"), _TEXT)
    | {"status": {"enum": ["pass", "fail", "unclear", "todo", "reference"]}},
    {"title": _TEXT},
)
_COLUMN = record({"name": _TEXT, "align": {"enum": ["left", "right"]}})
BLOCKS = {
    "facts": {"rows": list_of(list_of(_TEXT, 2), MOST)},
    "table": {
        "caption": _TEXT,
        "columns": list_of(_COLUMN, 200),
        "rows": list_of(list_of(_TEXT, 200), 10_000),
        "more": {"type": "integer", "minimum": 0},
    },
    "text": {"text": _TEXT, "tone": _TONE},
    "code": {"code": _CODE, "label": _TEXT},
    "figure": {"figure": _FIGURE, "alt": _TEXT},
    "ladder": {"stages": list_of(_STAGE, MOST)},
}
_BLOCK = {
    "type": "object",
    "properties": {"type": {"enum": [*BLOCKS]}},
    "required": ["type"],
    "allOf": [
        {"if": {"properties": {"type": {"const": name}}}, "then": record({"type": {}} | fields)}
        for name, fields in BLOCKS.items()
    ],
}
DOCUMENT = record(
    {
        "version": {"const": VERSION},
        "kind": _TEXT,
        "title": _TEXT,
        "tone": _TONE,
        "blocks": list_of(_BLOCK, MOST),
        "workflow": maybe(record({}, dict.fromkeys(("variable", "model", "target", "tolerance"), _TEXT))),
        "stages": list_of(_STAGE, MOST),
        "runs": list_of(_STAGE, MOST),
        "next": list_of(record({"title": _TEXT, "reason": _TEXT, "code": _CODE}), MOST),
    }
)
