"""QAIRT's tools and adb as small programs: they check that what they are given exists and fits, and leave what the
real ones would."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

TOOL = """#!{python}
import json, os, shutil, subprocess, sys
from pathlib import Path

name, arguments = Path(sys.argv[0]).name, sys.argv[1:]
known = json.loads(os.environ["STAND_INS"])
with open(known["log"], "a") as log:
    log.write(json.dumps([name, *arguments]) + "\\n")

def value(option):
    assert option in arguments, f"{{name}} without {{option}}"
    return arguments[arguments.index(option) + 1]

def existing(path):
    path = Path(path)
    assert path.exists(), f"{{name}}: there is no {{path}}"
    return path

if name == "qairt-converter":
    existing(value("--input_network"))
    shapes = {{}}
    for i, argument in enumerate(arguments):
        if argument == "--source_model_input_shape":
            shapes[arguments[i + 1]] = arguments[i + 2]
    assert shapes == known["shapes"], (shapes, known["shapes"])
    if "--quantization_overrides" in arguments:
        assert json.loads(existing(value("--quantization_overrides")).read_text())["activation_encodings"]
    else:
        assert value("--float_bitwidth") == "16"
    Path(value("--output_path")).write_text("a DLC")
elif name == "qnn-context-binary-generator":
    assert existing(value("--dlc_path")).read_text() == "a DLC"
    extensions = json.loads(existing(value("--config_file")).read_text())["backend_extensions"]
    assert json.loads(existing(extensions["config_file_path"]).read_text())["devices"] == known["devices"]
    made = Path(value("--output_dir")) / (value("--binary_file") + ".bin")
    made.parent.mkdir(exist_ok=True)
    made.write_text("a context")
elif name == "adb":
    device = Path(known["device"])
    here = lambda path: device / path.lstrip("/")
    if arguments[0] == "push":
        *sources, target = arguments[1:]
        assert here(target).is_dir(), f"adb push to {{target}}, which was not made"
        for source in map(existing, sources):
            copy = shutil.copytree if source.is_dir() else shutil.copy
            copy(source, here(target) / source.name)
    elif arguments[0] == "pull":
        shutil.copytree(existing(here(arguments[1])), arguments[2])
    else:
        command = " ".join(arguments[1:]).replace("/data/local/tmp", str(here("/data/local/tmp")))
        sys.exit(subprocess.run(["sh", "-c", command]).returncode)
elif name == "qnn-net-run":
    assert existing(value("--retrieve_context")).read_text() == "a context"
    existing(value("--backend"))
    native = "--use_native_input_files" in arguments
    assert native == ("--use_native_output_files" in arguments) == known["native"]
    for number, line in enumerate(existing(value("--input_list")).read_text().splitlines()):
        given = line.split()
        assert len(given) == len(known["inputs"])
        for part, (tensor, size) in zip(given, known["inputs"].items()):
            wanted, _, path = part.rpartition(":=")
            assert wanted == (tensor if len(given) > 1 else ""), part
            assert existing(path).stat().st_size == size, (path, existing(path).stat().st_size, size)
        folder = Path(value("--output_dir")) / f"Result_{{number}}"
        folder.mkdir(parents=True)
        for tensor, size in known["outputs"].items():
            (folder / tensor).write_bytes(bytes(size))
else:
    sys.exit(f"what is {{name}}?")
"""
SDK = (
    "bin/aarch64-android/qnn-net-run",
    "lib/aarch64-android/libQnnHtp.so",
    "lib/aarch64-android/libQnnSystem.so",
    "lib/aarch64-android/libQnnHtpV75Stub.so",
    "lib/hexagon-v75/unsigned/libQnnHtpV75Skel.so",
)
DEVICES = [{"dsp_arch": "v75", "soc_model": 57}]


def run_commands(folder: Path, around: Path, *, shapes, inputs, outputs, native=False) -> list[list[str]]:
    """Run ``commands.sh`` of a deployment as a person would, with stand-ins on the PATH.

    Args:
        around: an empty folder for the tools, the SDK and the device.
        shapes: of the inputs, as the converter takes them.
        inputs, outputs: bytes that each tensor takes in one inference, by name (inputs), by file name (outputs).

    Returns:
        every call: the program, and its arguments.
    """
    tools, sdk, device = around / "tools", around / "sdk", around / "device"
    for path in (tools, device):
        path.mkdir(parents=True)
    text = TOOL.format(python=sys.executable)
    for name in ("qairt-converter", "qnn-context-binary-generator", "adb"):
        _program(tools / name, text)
    for name in SDK:
        _program(sdk / name, text)
    known = {
        "log": str(around / "log"),
        "device": str(device),
        "shapes": shapes,
        "inputs": inputs,
        "outputs": outputs,
        "native": native,
        "devices": DEVICES,
    }
    path = os.pathsep.join([str(tools), "/usr/bin", "/bin"])
    surroundings = {"PATH": path, "QNN_SDK_ROOT": str(sdk), "STAND_INS": json.dumps(known)}
    run = subprocess.run(["sh", "-e", "commands.sh"], cwd=folder, env=surroundings, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return [json.loads(line) for line in (around / "log").read_text().splitlines()]


def _program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
