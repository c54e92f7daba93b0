"""Latency of exported files on ONNX Runtime's CPU: FP32, W8A8, and the W8A8 that ONNX Runtime's own quantizer makes
of the same network. One sample, two threads unless told, the runs taking turns: ``python -m tests.bench.latency``.

A session keeps the memory and the cores that it got when it was made, which can double its time. So each file is opened
anew in every round, each in turn the first; a file's figure is the mean of the rounds' medians, beside the lowest.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

import qnb
from qnb.runtimes import OnnxRuntime, interleaved
from tests.bench import nets


class Batches(CalibrationDataReader):
    """The calibration batches, as quantize_static takes them."""

    def __init__(self, name: str, batches: list[torch.Tensor]):
        self.rest = iter([{name: batch.numpy()} for batch in batches])

    def get_next(self):
        return next(self.rest, None)


def files(model: torch.nn.Module, batches: list[torch.Tensor], folder: Path) -> dict[str, Path]:
    """The same folded network three times."""
    sim = qnb.QuantSim(model, batches[0], "w8a8", target="onnxruntime-cpu").calibrate(batches)
    found = {
        "FP32": folder / "fp32.onnx",
        "W8A8, qnb": folder / "qnb.onnx",
        "W8A8, quantize_static": folder / "static.onnx",
    }
    qnb.export_onnx(sim, found["FP32"], form="fp32", batch=1)
    qnb.export_onnx(sim, found["W8A8, qnb"], batch=1)
    prepared = folder / "prepared.onnx"
    quant_pre_process(found["FP32"], prepared)
    quantize_static(
        prepared,
        found["W8A8, quantize_static"],
        Batches(sim.captured.inputs[0].name, [b[:1] for b in batches]),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    return found


def compare(name: str, model: torch.nn.Module, size: int, threads: int, rounds: int, runs: int) -> None:
    torch.manual_seed(0)
    batches = [torch.randn(4, 3, size, size) for _ in range(2)]
    nets.warm_up_batch_norm(model, batches[0])
    with tempfile.TemporaryDirectory() as folder:
        paths = files(model, batches, Path(folder))
        taken_ms, names = {what: [] for what in paths}, list(paths)
        for turn in range(rounds):
            order = names[turn % len(names) :] + names[: turn % len(names)]
            opened = {what: OnnxRuntime(paths[what], threads=threads) for what in order}
            for what, latency in interleaved(opened, runs=runs, warmup=10).items():
                taken_ms[what].append(latency.median_ms)
        print(f"\n{name}, {size} x {size}, {threads} threads, {rounds} rounds of {runs} runs")
        usual, least = ({w: how(times) for w, times in taken_ms.items()} for how in (statistics.mean, min))
        for what, path in paths.items():
            times = " and ".join(f"{figure['FP32'] / figure[what]:.2f}" for figure in (usual, least))
            print(
                f"  {what:<24} {usual[what]:6.2f} ms, lowest {least[what]:5.2f} ms   {times} x FP32   "
                f"{path.stat().st_size / 1e6:6.1f} MB"
            )
        placed = OnnxRuntime(paths["W8A8, qnb"], threads=threads).placement()
        print(f"  kernels: {placed.op.value_counts().to_dict()}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=24)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    for name, model in (("MobileNetV2", nets.mobilenet_v2()), ("ResNet-50", nets.resnet50())):
        compare(name, model, 224, given.threads, given.rounds, given.runs)
