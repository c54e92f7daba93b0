"""A network to export, exported files, and how far they are from the simulation."""

from __future__ import annotations

import onnx
import torch
from torch import nn

import qnb
from qnb.export import export_onnx
from qnb.measures.layers.error import ErrorStats
from qnb.runtimes import OnnxRuntime


def net():
    """Two weighted layers of different kinds."""
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 14 * 14, 5)).eval()


def calibrated(model, batch, precision="w8a8", target="onnxruntime-cpu", **arguments):
    """A sim whose ranges are those of ``batch``."""
    return qnb.QuantSim(model, batch, precision, target=target, **arguments).calibrate([batch])


def exported(sim, path, **arguments) -> OnnxRuntime:
    return OnnxRuntime(export_onnx(sim, path, **arguments), threads=1)


def simulated(sim, batch) -> dict[str, torch.Tensor]:
    """The sim's outputs by their names in the file."""
    with torch.no_grad():
        values = sim.run_flat(sim.flatten(batch, "test"))
    return dict(zip(sim.captured.returned.names(), values, strict=True))


def returned(sim, runtime, batch) -> dict[str, torch.Tensor]:
    """The file's outputs by name."""
    values = runtime.run(*sim.flatten(batch, "test"))
    values = values if isinstance(values, tuple) else (values,)
    return dict(zip((t.name for t in runtime.outputs), values, strict=True))


def agreement_db(sim, runtime, batch) -> float:
    """The lowest SQNR of all float outputs, the sim's as the signal; other outputs are equal."""
    wanted, got = simulated(sim, batch), returned(sim, runtime, batch)
    assert list(got) == list(wanted)
    lowest = float("inf")
    for name, value in wanted.items():
        assert got[name].shape == value.shape, name
        if not value.is_floating_point():
            assert torch.equal(got[name], value), name
            continue
        stats = ErrorStats()
        stats.update(value, got[name])
        lowest = min(lowest, stats.sqnr_db)
    return lowest


class File:
    """A file's graph, looked up by name."""

    def __init__(self, path):
        self.path, self.model = path, onnx.load(path)
        self.nodes = list(self.model.graph.node)
        self.initializers = {t.name: t for t in self.model.graph.initializer}
        self.maker = {name: node for node in self.nodes for name in node.output if name}
        self.inputs = {v.name: v.type.tensor_type for v in self.model.graph.input}
        self.outputs = {v.name: v.type.tensor_type for v in self.model.graph.output}

    def ops(self, *kinds: str) -> list:
        return [n for n in self.nodes if n.op_type in kinds]

    def type_of(self, initializer: str) -> str:
        return onnx.TensorProto.DataType.Name(self.initializers[initializer].data_type)

    def values(self, initializer: str):
        return onnx.numpy_helper.to_array(self.initializers[initializer])

    def attributes(self, node) -> dict:
        return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
