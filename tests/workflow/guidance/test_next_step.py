"""Calls as code: whatever they are given, the code means the same."""

import ast

import pytest

from qnb.workflow.guidance.next_step import deploy_code, literal, recover_code, run_code

VALUES = [
    "w8a8",
    'a "b" \\ c',
    "\n\0\x85\u2028",
    "\U0001f600",
    "\ud800",
    True,
    None,
    3,
    0.5,
    -1e-9,
    {"a": [True, "b"]},
    ["x", False],
    {},
]


@pytest.mark.parametrize("value", VALUES, ids=ascii)
def test_a_literal_reads_back(value):
    code = literal(value)
    assert ast.literal_eval(code) == value and code.encode("utf-8").decode("utf-8") == code


def test_true_and_false_are_pythons():
    code = deploy_code("flow", {"run": "a", "folder": "b", "integer_io": True, "runtimes": ("onnxruntime",)})
    assert code == 'flow.deploy("a", "b", integer_io=True, runtimes=["onnxruntime"])'
    assert run_code("flow", {"precision": "w8a8", "symmetric": False}) == 'flow.run("w8a8", symmetric=False)'


def test_functions_go_by_their_names():
    def loss():
        pass

    code = recover_code("net", "w4a8", ["train"], {"loss": loss, "name": "trained"})
    assert code == 'net.recover("w4a8", "train", loss=loss, name="trained")'
