"""Which ops are exact on which runtime: ``python -m tools.op_exactness [--runtime both] [--out docs/op-exactness.md]``.

Each op is a model of its own with random data of a fixed seed, quantized for HTP v75 and exported with integer inputs
and outputs, so that nothing but the op can differ.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

import qnb
from qnb.errors import PrecisionError
from qnb.export import export_onnx
from qnb.graph import capture
from qnb.measures.layers.error import ErrorStats
from qnb.runtimes import OnnxRuntime, QnnHtp, Runtime
from qnb.runtimes.fidelity import fidelity
from qnb.runtimes.onnxruntime import MOVES
from qnb.targets import get
from qnb.text import decibel

ROOT = Path(__file__).parents[1]
TARGET, SOC = "htp-v75", "sm8650"
RUNTIMES: dict[str, tuple[str, Callable[[Path], Runtime]]] = {
    "onnxruntime": ("ONNX Runtime", lambda path: OnnxRuntime(path, threads=1)),
    "htp": ("HTP", lambda path: QnnHtp(path, soc=SOC, threads=1, fallback=True)),
}
PRECISIONS = "w8a8,w8a16,w16a16"
IMAGE, TOKENS = (4, 16, 12, 12), (4, 12, 32)
READ = """\
Each row is one op between integer inputs and outputs: `equal` is the share of output codes that the runtime and the
simulation (`plain`: `QuantSim`; `exact`: `sim.exact(runtime)`, empty where that refuses the precision) have in common,
`steps` the largest difference between codes, and `dB` the SQNR of the runtime's values against the plain simulation's.
The note is about the first precision: it names the kernels that ONNX Runtime chose (`QLinear...` and `QGemm` compute in
integers, others in float32 between DequantizeLinear and QuantizeLinear) or the nodes that do not run on HTP, and *no
rule* marks ops that `exact` simulates as `QuantSim` does."""


class Op(nn.Module):
    """One functional call."""

    def __init__(self, function: Callable):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


class First(nn.Module):
    """The first result of a module that returns several."""

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)[0]


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(*shape)


def positive(*shape: int) -> torch.Tensor:
    return torch.rand(*shape) * 2 + 0.5


def drawn(norm: nn.Module) -> nn.Module:
    """A norm with random weights and biases in the place of ones and zeros."""
    nn.init.normal_(norm.weight, 1.0, 0.3)
    nn.init.normal_(norm.bias, 0.0, 0.3)
    return norm


def then(first: nn.Module, second: nn.Module) -> nn.Module:
    return nn.Sequential(first, second)


def convolutions() -> dict[str, tuple[nn.Module, tuple]]:
    images, sequence = (normal(*IMAGE),), (normal(4, 16, 40),)
    return {
        "conv 1x1": (nn.Conv2d(16, 24, 1), images),
        "conv 3x3": (nn.Conv2d(16, 24, 3, padding=1), images),
        "conv 3x3, stride 2": (nn.Conv2d(16, 24, 3, 2, 1), images),
        "conv 3x3, dilation 2": (nn.Conv2d(16, 24, 3, padding=2, dilation=2), images),
        "conv 3x3, 4 groups": (nn.Conv2d(16, 24, 3, padding=1, groups=4), images),
        "conv 3x3 depthwise": (nn.Conv2d(16, 16, 3, padding=1, groups=16), images),
        "conv 3x3 depthwise, stride 2": (nn.Conv2d(16, 16, 3, 2, 1, groups=16), images),
        "conv 2x2 transposed, stride 2": (nn.ConvTranspose2d(16, 8, 2, 2), images),
        "conv1d": (nn.Conv1d(16, 24, 3, padding=1), sequence),
        "conv 3x3 + relu": (then(nn.Conv2d(16, 24, 3, padding=1), nn.ReLU()), images),
        "conv 3x3 + relu6": (then(nn.Conv2d(16, 24, 3, padding=1), nn.ReLU6()), images),
        "linear": (nn.Linear(32, 24), (normal(24, 32),)),
        "linear, 3-D input": (nn.Linear(32, 24), (normal(*TOKENS),)),
    }


def elementwise() -> dict[str, tuple[nn.Module, tuple]]:
    x, two = (normal(*IMAGE),), (normal(*IMAGE), normal(*IMAGE))
    binary = {
        "matmul of two activations": (Op(torch.matmul), (normal(*TOKENS), normal(4, 32, 24))),
        "add": (Op(torch.add), two),
        "add + relu": (Op(lambda a, b: torch.relu(a + b)), two),
        "sub": (Op(torch.sub), two),
        "mul": (Op(torch.mul), two),
        "div": (Op(torch.div), (normal(*IMAGE), positive(*IMAGE))),
        "maximum": (Op(torch.maximum), two),
        "concat": (Op(lambda a, b: torch.cat([a, b], 1)), two),
        "scalar multiply": (Op(lambda a: a * 1.7), x),
        "scalar add": (Op(lambda a: a + 0.3), x),
    }
    functions = {
        "relu": F.relu,
        "leaky_relu": F.leaky_relu,
        "hardswish": F.hardswish,
        "hardsigmoid": F.hardsigmoid,
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
        "gelu": F.gelu,
        "silu": F.silu,
        "exp": torch.exp,
        "sin": torch.sin,
        "abs": torch.abs,
        "clamp": lambda a: a.clamp(-0.8, 0.9),
    }
    unary = {name: (Op(function), x) for name, function in functions.items()}
    return binary | unary | {"prelu": (nn.PReLU(16), x), "sqrt": (Op(torch.sqrt), (positive(*IMAGE),))}


def others() -> dict[str, tuple[nn.Module, tuple]]:
    x, tokens = (normal(*IMAGE),), (normal(*TOKENS),)
    twice = {"scale_factor": 2, "mode": "bilinear", "align_corners": False}
    return {
        "softmax": (nn.Softmax(-1), tokens),
        "max pool 2x2": (nn.MaxPool2d(2), x),
        "average pool 2x2": (nn.AvgPool2d(2), x),
        "average pool 3x3, stride 2": (nn.AvgPool2d(3, 2), x),
        "global average pool": (nn.AdaptiveAvgPool2d(1), x),
        "mean over one axis": (Op(lambda a: a.mean(1)), tokens),
        "layer norm": (drawn(nn.LayerNorm(32)), tokens),
        "group norm": (drawn(nn.GroupNorm(4, 16)), x),
        "instance norm": (drawn(nn.InstanceNorm2d(16, affine=True)), x),
        "resize, nearest": (Op(lambda a: F.interpolate(a, scale_factor=2)), x),
        "resize, bilinear": (Op(lambda a: F.interpolate(a, **twice)), x),
        "pad": (Op(lambda a: F.pad(a, (1, 1, 1, 1))), x),
        "pixel shuffle": (nn.PixelShuffle(2), x),
        "embedding": (nn.Embedding(50, 16), (torch.randint(0, 50, (4, 12)),)),
        "LSTM": (First(nn.LSTM(32, 16, batch_first=True)), tokens),
    }


def models() -> dict[str, tuple[nn.Module, tuple]]:
    """Name -> (model of one op, its inputs)."""
    torch.manual_seed(0)
    found = convolutions() | elementwise() | others()
    return {name: (model.eval(), inputs) for name, (model, inputs) in found.items()}


def measure(sim: qnb.QuantSim, inputs: tuple, runtime: str, path: Path) -> dict:
    """Figures of one op at one precision, whose name the columns begin with; a failure is a note."""
    precision = sim.precision.name
    try:
        running = RUNTIMES[runtime][1](path)
        plain = _figures(sim, running, inputs)
        note = _note(running)
        if not precision.endswith("a8"):
            return {f"{precision} dB": plain["sqnr_db"], "note": note}
        row = {f"{precision} plain equal": plain["equal_fraction"], "note": note}
        try:
            exact = sim.exact(runtime)
        except PrecisionError:  # the runtime has no integer kernels for it
            return row
        found = _figures(exact, running, inputs)
    except Exception as error:
        reason = getattr(error, "received", str(error)).splitlines()[0]
        return {"note": f"{precision}: {reason}"}
    row[f"{precision} exact equal"], row[f"{precision} exact steps"] = found["equal_fraction"], found["max_steps"]
    if sim.groups and not exact.layers_exact:
        row["note"] = f"{note}; *no rule*" if note else "*no rule*"
    return row


def _figures(sim: qnb.QuantSim, running: Runtime, inputs: tuple) -> pd.Series:
    """Of the quantized layer that agrees least; of the output where values are only moved and there is no layer."""
    if sim.groups:
        layers = fidelity(sim, running, [inputs]).dropna(subset="equal_fraction")
        return layers.loc[layers["sqnr_db"].idxmin()]
    with torch.no_grad():
        found, simulated = running.run(*inputs), sim(*inputs)
    (codes,) = running.metadata["outputs"].values()
    steps = ((found - simulated) / codes["scale"]).round().abs()
    stats = ErrorStats()
    stats.update(found, simulated)
    equal = float((steps == 0).double().mean())
    return pd.Series({"sqnr_db": stats.sqnr_db, "equal_fraction": equal, "max_steps": float(steps.max())})


def _note(running: Runtime) -> str:
    placed = running.placement()
    if isinstance(running, QnnHtp):
        away = sorted(set(placed["op"][placed["provider"] != "HTP"]))
        return f"on the CPU: {', '.join(away)}" if away else ""
    return ", ".join(sorted(set(placed["op"]) - MOVES))


def measure_all(runtimes: list[str], precisions: list[str]) -> pd.DataFrame:
    """One row per runtime and op; the note is that of the first precision."""
    rows: dict[tuple[str, str], dict] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (model, inputs) in models().items():
            captured = capture(model, inputs)
            for precision in precisions:
                sim = qnb.QuantSim(captured, precision=precision, target=TARGET).calibrate([inputs])
                path = export_onnx(sim, Path(folder, "op.onnx"), batch=1, integer_io=True)
                for runtime in runtimes:
                    row = rows.setdefault((runtime, name), {"op": name, "runtime": RUNTIMES[runtime][0]})
                    row |= measure(sim, inputs, runtime, path) | row  # what was there stays
            print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    figures = ("plain equal", "exact equal", "exact steps", "dB")
    names = [f"{p} {f}" for p in precisions for f in figures if p.endswith("a8") != (f == "dB")]
    ordered = sorted(rows, key=lambda key: runtimes.index(key[0]))
    return pd.DataFrame([rows[key] for key in ordered], columns=["op", "runtime", *names, "note"])


def markdown(table: pd.DataFrame) -> str:
    """The whole document."""
    text = table.apply(lambda column: column.map(lambda value: _cell(column.name, value)))
    lines = [f"| {' | '.join(text.columns)} |", "|" + "---|" * len(text.columns)]
    lines += [f"| {' | '.join(row)} |" for row in text.itertuples(index=False)]
    title = f"# Which ops are exact on which runtime\n\n{READ}"
    about = f"HTP: `{SOC}`, {get(TARGET).description}, emulated."
    return "\n".join([title, "", about, "", *lines, "", "Made by `python -m tools.op_exactness`.", ""])


def _cell(column: str, value) -> str:
    if isinstance(value, str):
        return value
    if pd.isna(value):
        return ""
    if column.endswith("equal"):
        return f"{100 * value:.2f} %"
    if column.endswith("steps"):
        return f"{value:.0f}"
    return decibel(value).removesuffix(" dB")  # the column's name says it


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.op_exactness", description=__doc__.splitlines()[0])
    parser.add_argument("--runtime", choices=[*RUNTIMES, "both"], default="both")
    parser.add_argument("--precision", default=PRECISIONS, help=f"names with commas between them ({PRECISIONS})")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "op-exactness.md")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    table = measure_all([*RUNTIMES] if given.runtime == "both" else [given.runtime], given.precision.split(","))
    print(table.to_string(index=False))
    given.out.write_text(markdown(table), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
