"""Recurrent layers in an ONNX file: the node that stands for one becomes all its steps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
import torch

from qnb.export.onnx.marker import DOMAIN, OP
from qnb.export.onnx.passes import add, sizes
from qnb.export.onnx.recurrent import RECURRENCE, Layer
from qnb.export.onnx.tensors import FileTensor, Names

GRID = ("_scale", "_zero_point")
"""Ends of the names that a tensor's grid has in the file."""


def write_steps(model: ir.Model, layers: dict[str, Layer], tensors: dict[str, FileTensor]) -> None:
    """Put all steps in the place of each layer's node. Inner values are marked as any other is."""
    for node in list(model.graph):
        if node.domain == DOMAIN and node.op_type == RECURRENCE:
            _Steps(model.graph, node, layers[node.attributes["key"].as_string()], tensors).write()


def share_grids(model: ir.Model, layers: dict[str, Layer], tensors: dict[str, FileTensor]) -> None:
    """One scale and one zero point for all values of a kind: with thousands of equal constants, HTP's compiler takes
    two to four times as long (measured on v75)."""
    inner = {t.quantizer for layer in layers.values() for t in layer.tensors.values()}
    names = {name for name, t in tensors.items() if t.constant is None and t.quantizer in inner}
    first: dict[tuple, ir.Value] = {}
    for name, value in list(model.graph.initializers.items()) if names else ():
        end = next((end for end in GRID if name.endswith(end)), "")
        if end and name.removesuffix(end).removesuffix("_wide") in names:
            known = first.setdefault((end, value.dtype, value.const_value.tobytes()), value)
            if known is not value:
                value.replace_all_uses_with(known)
                del model.graph.initializers[name]


class _Steps:
    """Writes one layer's nodes: the arithmetic of `qnb.sim.placement.recurrent_cells` on values of the file."""

    def __init__(self, graph: ir.Graph, node: ir.Node, layer: Layer, tensors: dict[str, FileTensor]):
        self.graph, self.before, self.layer, self.site, self.tensors = graph, node, layer, layer.site, tensors
        self.names = Names()
        self.names.taken = {*tensors, *graph.initializers}
        self.place = self.step = 0
        shape = node.inputs[0].shape
        self.batch = shape[0 if self.site.batch_first else 1] if shape is not None else None
        self.single = self.batch == 1 and self.site.batch_first
        """one sample: (1, steps, features) has the rows in order"""

    def write(self) -> None:
        site, layer = self.site, self.layer
        count = 0 if layer.zero else len(site.cell.states)
        given, weights = self.before.inputs[1 : 1 + count], self.before.inputs[1 + count :]
        rows, ends = self.rows(self.before.inputs[0]), []
        for first in range(0, len(site.keys), site.directions):
            found = []
            for self.place in range(first, first + site.directions):
                mine = weights[self.place * site.per : (self.place + 1) * site.per]
                sequence, states = self.one(rows, mine, given)
                ends.append(states)
                found.append(self.joined(sequence, f"sequence_{site.suffix(self.place)}", 0))
            rows = self.joined(found, f"sequence_l{first // site.directions}", 1)
        self.outputs(rows, ends)

    def one(self, rows: ir.Value, weights: list[ir.Value], given: list[ir.Value]) -> tuple[list, tuple]:
        """Steps of one layer in one direction: hidden states in the order of time, and the last states."""
        self.of_hidden, steps, self.step = weights[1::2], self.layer.steps, 0
        projected = self.made("input_projection", "Gemm", [rows, *weights[0::2]], transB=1)
        suffix = self.site.suffix(self.place)
        parts = self.parts("input_projection", projected, steps, [1] * steps, 0) if steps > 1 else [projected]
        states = tuple(
            self.first(kind, given[i] if given else None, f"{kind}_{suffix}_before")
            for i, kind in enumerate(self.site.cell.states)
        )
        hidden: list = [None] * steps
        backward = bool(self.place % self.site.directions)
        for self.step in reversed(range(steps)) if backward else range(steps):
            states = self.site.cell.step(self, parts[self.step], states)
            hidden[self.step] = states[0]
        return hidden, states

    def rows(self, x: ir.Value) -> ir.Value:
        """(steps * batch, features), step by step."""
        if self.site.batch_first and not self.single:
            x = self.moved("Transpose", [x], "input_by_step", perm=[1, 0, 2])
        shape = sizes(self.graph, self.names(f"{self.site.layer}.rows"), [-1, self.before.inputs[0].shape[2]])
        return self.moved("Reshape", [x, shape], "input_rows")

    def first(self, kind: str, given: ir.Value | None, what: str) -> ir.Value:
        """A state before the first step, on the grid of those that follow."""
        name, like = self.names(f"{self.site.layer}.{what}"), self.like(kind)
        if given is None:
            zeros = np.zeros((1, self.layer.hidden), np.float32)
            value = ir.val(f"{name}_zeros", ir.DataType.FLOAT, zeros.shape, const_value=ir.tensor(zeros))
            self.graph.initializers[value.name] = value
            self.tensors[name] = replace(like, name=name, constant=torch.from_numpy(zeros), follows=True)
        else:
            number = ir.tensor(np.int64(self.place))
            index = ir.val(self.names(f"{name}_index"), ir.DataType.INT64, [], const_value=number)
            self.graph.initializers[index.name] = index
            value = self.node("Gather", [given, index], axis=0)
            value = self.marked_as(given, value, f"{what}_given")
            self.tensors[name] = replace(like, name=name, follows=True)
        return self.node(OP, [value], domain=DOMAIN, name=name)

    def outputs(self, rows: ir.Value, ends: list[tuple[ir.Value, ...]]) -> None:
        """The sequence and the last states in the shapes that the op gives."""
        site, layer, old = self.site, self.layer, self.before.outputs
        steps, features = layer.steps, site.directions * layer.hidden
        batch = self.batch if isinstance(self.batch, int) else -1
        shape = [1, steps, features] if self.single else [steps, batch, features]
        shape = sizes(self.graph, self.names(f"{site.layer}.sequence_shape"), shape)
        self.place, self.step = len(site.keys) - 1, 0
        turn = site.batch_first and not self.single
        y = self.node("Reshape", [rows, shape])
        if turn:
            y = self.node("Transpose", [self.mark(y, "hidden_state", "sequence_by_step")], perm=[1, 0, 2])
        y.shape = old[0].shape
        found = [y if site.outside else self.mark(y, "hidden_state", "sequence")]
        for kind, last in zip(site.cell.states, zip(*ends, strict=True), strict=True):
            value = old[len(found)]
            found.append(self.last(kind, last, value.shape) if value.uses() else None)
        for value, made in zip(old, found, strict=False):
            if made is not None:
                value.replace_all_uses_with(made)
        self.graph.remove(self.before, safe=True)

    def last(self, kind: str, values: tuple[ir.Value, ...], shape: ir.Shape | None) -> ir.Value:
        """The last states of all layers and directions: (layers * directions, batch, hidden)."""
        axes, found = sizes(self.graph, self.names(f"{self.site.layer}.{kind}_axes"), [0]), []
        for self.place, value in enumerate(values):
            value = self.node("Unsqueeze", [value, axes])
            value.shape = shape if len(values) == 1 else None
            found.append(self.mark(value, kind, f"{kind}_last"))
        if len(found) == 1:
            return found[0]
        joined = self.node("Concat", found, axis=0)
        joined.shape = shape
        return joined

    # The arithmetic of a step, see `qnb.sim.placement.recurrent_cells.Arithmetic`.
    def linear(self, kind: str, hidden: ir.Value) -> ir.Value:
        return self.made(kind, "Gemm", [hidden, *self.of_hidden], transB=1)

    def add(self, kind: str, a: ir.Value, b: ir.Value) -> ir.Value:
        return self.made(kind, "Add", [a, b])

    def sub(self, kind: str, a: ir.Value, b: ir.Value) -> ir.Value:
        return self.made(kind, "Sub", [a, b])

    def mul(self, kind: str, a: ir.Value, b: ir.Value) -> ir.Value:
        return self.made(kind, "Mul", [a, b])

    def sigmoid(self, kind: str, x: ir.Value) -> ir.Value:
        return self.made(kind, "Sigmoid", [x])

    def tanh(self, kind: str, x: ir.Value) -> ir.Value:
        return self.made(kind, "Tanh", [x])

    def split(self, kind: str, x: ir.Value, parts: tuple[int, ...]) -> list[ir.Value]:
        return self.parts(kind, x, len(parts), [n * self.layer.hidden for n in parts], 1)

    # Nodes and marks.
    def made(self, kind: str, op: str, inputs: list[ir.Value], **attributes) -> ir.Value:
        """A node whose result is the value of a kind at this step."""
        step = 0 if kind == "input_projection" else self.step
        name = self.layer.names[self.place, kind, step]
        return self.node(OP, [self.node(op, inputs, **attributes)], domain=DOMAIN, name=name)

    def parts(self, kind: str, x: ir.Value, count: int, lengths: list[int], axis: int) -> list[ir.Value]:
        """A Split; along the rows its parts are equal whatever the batch is."""
        inputs, attributes = [x], {"axis": axis}
        if axis == 0 and self.batch != 1:
            attributes["num_outputs"] = count
        else:
            name = f"{self.site.layer}.parts_{axis}_{'_'.join(map(str, lengths[:3]))}_{count}"
            known = self.graph.initializers.get(name)
            inputs.append(known if known is not None else sizes(self.graph, name, lengths))
        node = ir.node("Split", inputs, attributes, num_outputs=count)
        self.graph.insert_before(self.before, node)
        return [self.mark(value, kind, f"{kind}_part") for value in node.outputs]

    def mark(self, value: ir.Value, kind: str, what: str) -> ir.Value:
        """Mark a value that was moved out of one of a kind."""
        return self.mark_as(value, self.like(kind), f"{what}_{self.site.suffix(self.place)}_t{self.step}")

    def like(self, kind: str) -> FileTensor:
        return self.layer.tensors[self.layer.names[self.place, kind, 0]]

    def mark_as(self, value: ir.Value, like: FileTensor, what: str) -> ir.Value:
        name = self.names(f"{self.site.layer}.{what}")
        self.tensors[name] = replace(like, name=name, kind="activation", constant=None, follows=True)
        marked = self.node(OP, [value], domain=DOMAIN, name=name)
        marked.shape = value.shape
        return marked

    def marked_as(self, source: ir.Value, value: ir.Value, what: str) -> ir.Value:
        """``value``, moved out of ``source``, with its encoding if it has one."""
        maker = source.producer()
        name = maker.attributes["name"].as_string() if maker is not None and maker.domain == DOMAIN else None
        return self.mark_as(value, self.tensors[name], what) if name in self.tensors else value

    def joined(self, values: list[ir.Value], what: str, axis: int) -> ir.Value:
        return self.moved("Concat", values, what, axis=axis) if len(values) > 1 else values[0]

    def moved(self, op: str, inputs: list[ir.Value], what: str, **attributes: Any) -> ir.Value:
        return self.marked_as(inputs[0], self.node(op, inputs, **attributes), what)

    def node(self, op: str, inputs: list[ir.Value], domain: str = "", **attributes: Any) -> ir.Value:
        return add(self.graph, self.before, op, inputs, attributes, dtype=ir.DataType.FLOAT, domain=domain)
