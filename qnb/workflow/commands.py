"""The commands that take a deployed run to a device with Qualcomm's AI Runtime SDK (QAIRT)."""

from __future__ import annotations

from pathlib import Path

from qnb.export.onnx_file import default_form
from qnb.workflow.performance import sim_of

DEVICE = "/data/local/tmp/qnb"


def text(flow, wanted, files: dict[str, Path]) -> str:
    """A shell script in two parts: the SDK's own way from the float file and the encodings, and ONNX Runtime's with
    the context binary that is already compiled. Options as in QAIRT's public documents."""
    sim, stem, soc = sim_of(flow, wanted.run), wanted.stem, wanted.soc
    quantized = default_form(sim) == "qdq"
    network = files["float"].name if quantized else files.get("static", files["model"]).name
    overrides = [f"--quantization_overrides {files['encodings'].name}"] if quantized else ["--float_bitwidth 16"]
    shapes = [f"--source_model_input_shape {i.name} {_sizes(flow, index)}"
              for index, i in enumerate(sim.captured.inputs)]  # fmt: skip
    lines = [
        f"# {wanted.run.name} ({wanted.run.precision}) to {soc.soc}: {soc.name}, Hexagon v{soc.htp_arch}",
        "",
        "# 1. On the host, with QAIRT set up (source <sdk>/bin/envsetup.sh): model and encodings become a DLC,",
        "#    the DLC a context binary for this SoC.",
        _command("qairt-converter", f"--input_network {network}", *overrides, *shapes, f"--output_path {stem}.dlc"),
        _command("qnn-context-binary-generator", "--backend libQnnHtp.so", "--model libQnnModelDlc.so",
                 f"--dlc_path {stem}.dlc", f"--binary_file {stem}-{soc.soc}"),
        "",
        "# 2. On the device: run it and time it.",
        f"adb push output/{stem}-{soc.soc}.bin input_list.txt inputs {DEVICE}/",
        f'adb shell "cd {DEVICE} && ' + _command(
            "./qnn-net-run", "--backend libQnnHtp.so", f"--retrieve_context {stem}-{soc.soc}.bin",
            "--input_list input_list.txt", "--profiling_level basic", "--perf_profile burst", indent=" ") + '"',
    ]  # fmt: skip
    if "context" in files:
        lines += [
            "",
            "# Or with ONNX Runtime's QNN provider on the device: these two files are compiled already.",
            f"adb push {files['context'].name} {files['binary'].name} {DEVICE}/",
        ]
    return "\n".join(lines) + "\n"


def _command(program: str, *options: str, indent: str = " \\\n    ") -> str:
    return indent.join([program, *options])


def _sizes(flow, index: int) -> str:
    """An input's sizes with a batch of one: ``1,3,32,32``."""
    described = flow.captured.inputs[index]
    node = [n for n in flow.captured.module.graph.nodes if n.op == "placeholder"][index]
    first = flow.captured.inputs[0].shape[:1]
    sizes = [1 if (d,) == first and isinstance(d, str) else n
             for d, n in zip(described.shape, node.meta["val"].shape, strict=True)]  # fmt: skip
    return ",".join(map(str, sizes)) or "1"
