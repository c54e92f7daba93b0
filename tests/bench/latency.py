"""Latency of exported files on ONNX Runtime's CPU: FP32, W8A8, and the W8A8 that ONNX Runtime's own quantizer makes
of the same network. Two threads, one sample, the files' runs taking turns: ``python -m tests.bench.latency``."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

import qnb
from qnb.runtimes import OnnxRuntime, interleaved
from tests.bench import nets

THREADS = 2


class Batches(CalibrationDataReader):
    """The calibration batches, as quantize_static takes them."""

    def __init__(self, name: str, batches: list[torch.Tensor]):
        self.rest = iter([{name: batch.numpy()} for batch in batches])

    def get_next(self):
        return next(self.rest, None)


def files(model: torch.nn.Module, batches: list[torch.Tensor], folder: Path) -> dict[str, Path]:
    """The same folded network three times."""
    sim = qnb.QuantSim(model, batches[0], "w8a8", target="onnxruntime-cpu").calibrate(batches)
    found = {"FP32": folder / "fp32.onnx", "W8A8, qnb": folder / "qnb.onnx",
             "W8A8, quantize_static": folder / "static.onnx"}  # fmt: skip
    qnb.export_onnx(sim, found["FP32"], form="fp32", batch=1)
    qnb.export_onnx(sim, found["W8A8, qnb"], batch=1)
    prepared = folder / "prepared.onnx"
    quant_pre_process(found["FP32"], prepared)
    quantize_static(
        prepared, found["W8A8, quantize_static"], Batches(sim.captured.inputs[0].name, [b[:1] for b in batches]),
        quant_format=QuantFormat.QDQ, per_channel=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
    )  # fmt: skip
    return found


def compare(name: str, model: torch.nn.Module, size: int, runs: int) -> None:
    torch.manual_seed(0)
    batches = [torch.randn(4, 3, size, size) for _ in range(2)]
    nets.warm_up_batch_norm(model, batches[0])
    with tempfile.TemporaryDirectory() as folder:
        runtimes = {what: OnnxRuntime(path, threads=THREADS)
                    for what, path in files(model, batches, Path(folder)).items()}  # fmt: skip
        found = interleaved(runtimes, runs=runs, warmup=10)
        placed = runtimes["W8A8, qnb"].placement()
        print(f"\n{name}, {size} x {size}, {THREADS} threads")
        for what, latency in found.items():
            times = found["FP32"].median_ms / latency.median_ms
            megabytes = runtimes[what].path.stat().st_size / 1e6
            print(f"  {what:<24} {latency!s:<46} {times:5.2f} x FP32   {megabytes:6.1f} MB")
        print(f"  kernels: {placed.op.value_counts().to_dict()}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=60)
    runs = parser.parse_args().runs
    compare("MobileNetV2", nets.mobilenet_v2(), 224, runs)
    compare("ResNet-50", nets.resnet50(), 224, runs)
