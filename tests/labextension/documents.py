"""Documents as qnb's outputs carry them, made here by hand: the extension must not need a kernel to show them."""

from nbformat import v4

from tools.execute_notebooks import KERNEL

MIME = "application/vnd.qnb.v2+json"
HOSTILE = "<img src=x onerror=window.hacked=1>"
FIGURE = {
    "data": [
        {
            "type": "bar",
            "y": ["stem", "head"],
            "x": [31.5, 44.2],
            "orientation": "h",
            "hovertemplate": "%{y}<extra></extra>",
        }
    ],
    "layout": {
        "title": {"text": "Error per layer"},
        "height": 240,
        "margin": {"t": 40, "l": 80, "b": 30, "r": 10},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": "#797979"},
    },
}
FACTS = {"type": "facts", "rows": [["metric", "0.9741 (n = 540)"], ["cost", "79 kB, 1.2 M MACs"]]}
TABLE = {
    "type": "table",
    "caption": "The layers that lose most",
    "more": 3,
    "columns": [{"name": "layer", "align": "left"}, {"name": "own SQNR in dB", "align": "right"}],
    "rows": [["stem.conv", "12.3"], ["blocks.1.depthwise", "18.9"], ["head.classifier", "40.1"]],
}
ADVICE = {
    "title": "Run w8a8",
    "reason": "8-bit weights cost nothing; try 8-bit activations.",
    "code": 'flow.run("w8a8")',
}
WORKFLOW = {"variable": "flow", "model": "MobileDigits", "target": "htp-v75", "tolerance": "0.01"}


def row(stage, state, mark, title="", **more) -> dict:
    return {
        "stage": stage,
        "title": title,
        "status": state,
        "mark": mark,
        "run": "",
        "metric": "",
        "drop": "",
        "size": "",
        "text": "",
        **more,
    }


STAGES = [
    row("check", "pass", "✓", "Check", text="25 layers"),
    row("fp16", "pass", "✓", "FP16", run="fp16", metric="0.976", drop="0", size="158 kB", text="fp16: no loss"),
    row(
        "w16a16", "pass", "✓", "W16A16", run="w16a16", metric="0.976", drop="0", size="158 kB", text="agrees with FP32"
    ),
    row(
        "reduce",
        "unclear",
        "?",
        "Reduce",
        run="w8a16",
        metric="0.972",
        drop="0.004",
        size="79 kB",
        text="w8a16: 540 images do not decide",
    ),
    row("restore", "todo", "·", "Restore", text="recover the accuracy"),
    row("deploy", "todo", "·", "Deploy", text="measure on the target"),
]


def document(kind: str, title: str, *blocks, **more) -> dict:
    return {
        "version": 2,
        "kind": kind,
        "title": title,
        "tone": "neutral",
        "blocks": list(blocks),
        "workflow": None,
        "stages": [],
        "runs": [],
        "next": [],
        **more,
    }


CHECK = document(
    "check",
    "✓ MobileDigits can be quantized",
    {"type": "facts", "rows": [["layers", "25"]]},
    {"type": "unknown", "x": [1]},
    tone="good",
    workflow={"model": "MobileDigits"},
)
RUN = document(
    "run",
    "✗ w4a8: worse than the tolerance",
    FACTS,
    TABLE,
    {"type": "figure", "figure": FIGURE, "alt": "Errors"},
    {"type": "code", "code": ADVICE["code"], "label": "Next: Run w8a8"},
    tone="bad",
    workflow={"target": "htp-v75", "tolerance": "0.01"},
    next=[ADVICE],
    runs=[row("reduce", "fail", "✗", run="w4a8", metric="0.91", drop="0.066", size="41 kB", text="worse: 6.6 points")],
)
SUMMARY = document(
    "workflow",
    "Workflow: MobileDigits for htp-v75, tolerance 0.01",
    {"type": "ladder", "stages": STAGES},
    workflow=WORKFLOW,
    stages=STAGES,
    next=[ADVICE],
    runs=[{**stage, "text": ""} for stage in STAGES if stage["run"]],
)


def hostile() -> dict:
    """Markup in every place where a name may stand."""
    link = f"<a href='javascript:window.hacked=1'>{HOSTILE}</a>"
    figure = {
        "data": [{"type": "bar", "x": [HOSTILE, link], "y": [1, 2], "text": [link, HOSTILE], "name": HOSTILE}],
        "layout": {
            "title": {"text": HOSTILE},
            "height": 260,
            "images": [{"source": "x"}],
            "annotations": [{"text": link, "x": 0, "y": 1}],
        },
        "frames": [{}],
        "config": {"editable": True},
    }
    table = {"type": "table", "caption": HOSTILE, "columns": [{"name": HOSTILE}], "rows": [[HOSTILE]]}
    step = row("reduce", "pass", HOSTILE, HOSTILE, run=HOSTILE, metric=HOSTILE, text=HOSTILE)
    blocks = [
        {"type": "facts", "rows": [[HOSTILE, link]]},
        table,
        {"type": "text", "text": link},
        {"type": "code", "code": HOSTILE, "label": HOSTILE},
        {"type": "ladder", "stages": [step]},
        {"type": "figure", "figure": figure, "alt": HOSTILE},
    ]
    advice = {"title": HOSTILE, "reason": link, "code": HOSTILE}
    return document(
        "workflow",
        HOSTILE,
        *blocks,
        workflow=dict.fromkeys(WORKFLOW, HOSTILE),
        stages=[step],
        runs=[step],
        next=[advice],
    )


def notebook(*documents: dict, filler: int = 0):
    """One code cell for each document, with it as its stored output; ``filler`` cells of text between them."""
    cells = [v4.new_markdown_cell("# Stored results")]
    for found in documents:
        data = {MIME: found, "text/plain": "the text form", "text/html": "<p>the HTML form</p>"}
        output = v4.new_output("execute_result", data=data, execution_count=1)
        cells.append(v4.new_code_cell("flow", outputs=[output], execution_count=1))
        cells += [v4.new_markdown_cell("Text.\n\n" * 12) for _ in range(filler)]
    return v4.new_notebook(cells=cells, metadata={"kernelspec": KERNEL})
