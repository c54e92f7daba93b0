"""Values, tables and lines of code: what comes back is what was there; the fields of what is saved are all saved."""

import dataclasses
import json
import math

import numpy as np
import pandas as pd
import pytest

from qnb.errors import FileError
from qnb.measures import Score
from qnb.measures.metrics.score import Drop
from qnb.methods import Result
from qnb.numerics import Grid, Precision
from qnb.runtimes import Latency
from qnb.targets import Target
from qnb.targets import stored as targets
from qnb.workflow import check
from qnb.workflow.deployment.performance import Performance
from qnb.workflow.deployment.result import Deployment, RuntimeResult
from qnb.workflow.diagnosis import finding
from qnb.workflow.guidance import next_step as advice
from qnb.workflow.recovery.sensitivities import Sensitivity
from qnb.workflow.run import Run
from qnb.workflow.storage import code, deployments, runs, tables, values
from qnb.workflow.storage import findings as found
from qnb.workflow.storage.source import Source

SOURCE = Source("read")


def again(value):
    return values.decode(json.loads(json.dumps(values.encode(value), allow_nan=False)), SOURCE)


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        2.5,
        "nan",
        "inf",
        "$tuple",
        [1, [2.0, None]],
        (1, ("a",)),
        {"a": {"b": (1,)}},
        {"$float": 1},
        {1: "a", (2, 3): "b"},
        {},
        [],
        (),
        Precision(Grid(4, True, "block", 32), Grid(8)),
        ["w8a8", Precision()],
    ],
    ids=repr,
)
def test_values(value):
    back = again(value)
    assert back == value and type(back) is type(value)


def test_values_that_json_has_no_form_for():
    assert math.isnan(again(math.nan)) and again({"x": [-math.inf]}) == {"x": [-math.inf]} and again(pd.NA) is pd.NA
    assert again(np.float32(0.5)) == 0.5 and again(np.int64(3)) == 3
    assert again(sorted).__name__ == "sorted" and again(object()).__name__ == "object"
    assert again(lambda: 1).__name__ == "<lambda>" and again(pd.DataFrame()).__name__ == "DataFrame"


@pytest.mark.parametrize(
    "stored",
    [
        {"$code": 1},
        {"$float": "1"},
        {"$tuple": 1},
        {"$dict": [[1]]},
        {"$dict": [[[1], 2]]},
        10**400,
        {"$precision": {"weights": None}},
        {"$table": {}},
        {"$named": 1},
        {"$named": "a.b"},
        {"$named": "f()"},
    ],
)
def test_values_that_are_none(stored):
    with pytest.raises(FileError):
        values.decode(stored, SOURCE)


def test_values_nested_too_deeply():
    stored = 1
    for _ in range(100):
        stored = [stored]
    with pytest.raises(FileError, match="too deeply"):
        values.decode(stored, SOURCE)


FRAMES = {
    "empty": pd.DataFrame(),
    "no rows": pd.DataFrame({"a": pd.Series([], dtype="float64"), "b": pd.Series([], dtype=tables._NATIVE_TEXT)}),
    "text": pd.DataFrame({"layer": ["nan", "inf", "", "<b>"]}),
    "text with gaps": pd.DataFrame({"rounding": ["up", None, "down"]}),
    "floats": pd.DataFrame({"x": [1.0, math.nan, math.inf, -math.inf], "y": np.float32([0.1, 1e-40, 3.0, -0.0])}),
    "whole": pd.DataFrame({"n": [1, -(2**62)], "m": pd.array([1, None], dtype="Int64"), "b": [True, False]}),
    "objects": pd.DataFrame({"o": pd.Series([[1.0, 2.0], None, "x", math.inf], dtype=object)}),
    "an index": pd.DataFrame({"x": [1, 2]}, index=[5, 7]),
    "an index of text": pd.DataFrame({"x": [1.5, 2.5]}, index=["a", "b"]),
}


@pytest.mark.parametrize("name", FRAMES)
def test_tables(name):
    frame = FRAMES[name].copy()
    frame.attrs = {"estimator": "fisher", "other_bytes": 0}
    back = tables.unpack(json.loads(json.dumps(tables.pack(frame), allow_nan=False)), SOURCE)
    pd.testing.assert_frame_equal(back, frame, check_exact=True)
    assert back.attrs == frame.attrs


@pytest.mark.parametrize(
    "line",
    [
        'flow.run("w4a8", layers={"stem": "w8a8"})',
        "flow.pareto_fronts['w8a8'].verify(4)",
        "flow.layer('w16a16', 'a.b')",
        "flow.recover('w8a8', candidates=[Precision(weights=Grid(bits=8), activations=None)])",
        'print(flow.deployments["w8a8"].commands)',
        'flow.what_if("w8a8").change(["a"], calibration_method="mse").keep()',
        'flow.recover("w8a8", "mixed_precision", budget=-1.5, cost=mine)',
        "flow.check()\nflow.run('fp16')",
        "",
    ],
)
def test_lines_of_code_that_a_workflow_gives(line):
    assert code.checked(line, "flow") == line
    assert code.checked(line, "mine") == line.replace("flow.", "mine.")


@pytest.mark.parametrize(
    "line",
    [
        "import os",
        "__import__('os').system('x')",
        "flow.run(__import__('os'))",
        "flow.save('/etc/passwd')",
        "f(1",
        "flow.run('w8a8'); open('x')",
        "flow.evaluate.__globals__",
        "flow.evaluate()",
        "flow.run(*[open('x')])",
        "flow.run('x', **{'a': open('y')})",
        "print(open('x'))",
        "print(flow, file=open('x'))",
        "flow.run(lambda: 1)",
        "flow.run([x for x in 'a'])",
        "flow.run(f'{open(1)}')",
        "flow.run(x := 1)",
        "flow.runs[open('x')].keep()",
        "flow.run(Grid(open('x')))",
        "(lambda: flow)().run('x')",
        "@flow.run\ndef f(): 1",
        "flow.run('x'" + "(" * 5000,
        "flow = 1",
        "del flow",
        "x" * 20_000,
    ],
    ids=lambda line: line[:30],
)
def test_lines_of_code_that_none_gives(line):
    assert code.checked(line, "flow") == ""


@pytest.mark.parametrize(
    ("cls", "schema"),
    [
        (Run, runs.RUN),
        (Result, runs.RESULT),
        (Score, runs.SCORE),
        (Drop, runs.DROP),
        (advice.NextStep, runs.NEXT_STEP),
        (check.Check, found.CHECK),
        (check.Issue, found._ISSUE),
        (Sensitivity, found.SENSITIVITY),
        (finding.Diagnosis, found.DIAGNOSIS),
        (finding.Finding, found._FINDING),
        (Deployment, deployments.DEPLOYMENT),
        (RuntimeResult, deployments._RUNTIME),
        (Performance, deployments.PERFORMANCE),
        (Latency, deployments.LATENCY["anyOf"][1]),
        (Target, targets.SCHEMA),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_every_field_is_in_the_schema(cls, schema):
    """Whoever adds a field is told to save it."""
    assert {field.name for field in dataclasses.fields(cls)} == set(schema["properties"])
