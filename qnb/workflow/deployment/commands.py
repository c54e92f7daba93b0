"""The commands that take a deployed run to a device with Qualcomm's AI Runtime SDK (QAIRT)."""

from __future__ import annotations

import json
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from qnb.export.onnx.file import default_form
from qnb.workflow.deployment import device_inputs
from qnb.workflow.deployment.performance import sim_of

if TYPE_CHECKING:
    from qnb.workflow.deployment.order import Order
    from qnb.workflow.workflow import Workflow

DEVICE = "/data/local/tmp/qnb"
SDK = "$QNN_SDK_ROOT"
"""Where QAIRT is; its envsetup.sh says so."""


def text(flow: Workflow, wanted: Order, files: dict[str, Path]) -> str:
    """A shell script, to be run in the files' folder: the SDK's own way from the float file and the encodings, and
    ONNX Runtime's with the context binary that is already compiled. Options as in QAIRT's public documents.

    Args:
        files: by role; all that the script names exist, or are made by the commands before.
    """
    soc, binary = wanted.soc, f"{wanted.stem}-{wanted.soc.soc}"
    inputs, expected = (f"{name}/{wanted.stem}" for name in (device_inputs.INPUTS, device_inputs.EXPECTED))
    run = " ".join(f"{wanted.run.name} ({wanted.run.precision})".split())
    lines = [
        f"# {run} to {soc.soc}: {soc.name}, Hexagon v{soc.htp_arch}. In this folder: sh commands.sh",
        "",
        "# 1. On the host, with QAIRT set up (source <sdk>/bin/envsetup.sh): model and encodings become a DLC,",
        "#    the DLC a context binary for this SoC.",
        _converter(flow, wanted, files),
        _command(
            "qnn-context-binary-generator",
            "--backend libQnnHtp.so",
            "--model libQnnModelDlc.so",
            f"--dlc_path {wanted.stem}.dlc",
            f"--config_file {files['extensions'].name}",
            "--output_dir output",
            f"--binary_file {binary}",
        ),
        "",
        "# 2. QAIRT's own part on the device.",
        f"adb shell mkdir -p {DEVICE}/{device_inputs.INPUTS}",
        _command("adb push", *(f'"{SDK}/{name}"' for name in _runtime(soc.htp_arch)), f"{DEVICE}/"),
        "",
        f"# 3. On the device: run it on the samples in {inputs}, and time it.",
        f"adb push output/{binary}.bin {DEVICE}/",
        f"adb push {inputs} {DEVICE}/{device_inputs.INPUTS}/",
        _on_device(binary, f"{inputs}/{device_inputs.LIST}", wanted.integer_io),
        "",
        f"# 4. Its outputs; {expected} holds those of the simulation under the same names.",
        f"adb pull {DEVICE}/output {wanted.stem}-output",
    ]
    if "context" in files:
        lines += [
            "",
            "# Or with ONNX Runtime's QNN provider on the device: these two files are compiled already.",
            f"adb push {quote(files['context'].name)} {quote(files['binary'].name)} {DEVICE}/",
        ]
    return "\n".join(lines) + "\n"


def _converter(flow: Workflow, wanted: Order, files: dict[str, Path]) -> str:
    sim = sim_of(flow, wanted.run)
    quantized = default_form(sim) == "qdq"
    network = files["float"] if quantized else files.get("static", files["model"])
    overrides = f"--quantization_overrides {quote(files['encodings'].name)}" if quantized else "--float_bitwidth 16"
    shapes = [
        f"--source_model_input_shape {quote(i.name)} {','.join(map(str, size)) or '1'}"
        for i, size in zip(sim.captured.inputs, device_inputs.sizes(sim.captured), strict=True)
    ]
    return _command(
        "qairt-converter",
        f"--input_network {quote(network.name)}",
        overrides,
        *shapes,
        f"--output_path {wanted.stem}.dlc",
    )


def _runtime(arch: int) -> tuple[str, ...]:
    """What ``qnn-net-run`` needs beside the model, in the SDK."""
    return (
        "bin/aarch64-android/qnn-net-run",
        "lib/aarch64-android/libQnnHtp.so",
        "lib/aarch64-android/libQnnSystem.so",
        f"lib/aarch64-android/libQnnHtpV{arch}Stub.so",
        f"lib/hexagon-v{arch}/unsigned/libQnnHtpV{arch}Skel.so",
    )


def _on_device(binary: str, listed: str, native: bool) -> str:
    codes = ["--use_native_input_files --use_native_output_files"] if native else []
    return _command(
        f'adb shell "cd {DEVICE} && rm -rf output && chmod +x qnn-net-run &&',
        "LD_LIBRARY_PATH=. ADSP_LIBRARY_PATH=. ./qnn-net-run --backend libQnnHtp.so",
        f"--retrieve_context {binary}.bin --input_list {listed}",
        *codes,
        '--output_dir output --profiling_level basic --perf_profile burst"',
    )


def write_settings(wanted: Order, folder: Path) -> dict[str, Path]:
    """The two files that tell the context binary generator which SoC to compile for; role to file."""
    soc, stem = wanted.soc, f"{wanted.stem}-{wanted.soc.soc}"
    files = {"settings": folder / f"{stem}-htp.json", "extensions": folder / f"{stem}-extensions.json"}
    device = {"dsp_arch": f"v{soc.htp_arch}"} | ({} if soc.soc_model is None else {"soc_model": soc.soc_model})
    library = {"shared_library_path": "libQnnHtpNetRunExtensions.so", "config_file_path": files["settings"].name}
    files["settings"].write_text(json.dumps({"devices": [device]}, indent=1) + "\n")
    files["extensions"].write_text(json.dumps({"backend_extensions": library}, indent=1) + "\n")
    return files


def _command(program: str, *options: str, indent: str = " \\\n    ") -> str:
    return indent.join([program, *options])
