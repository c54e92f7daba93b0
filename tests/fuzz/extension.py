"""Documents, read as the JupyterLab extension reads them: its own sources under node, where these are installed."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path

from qnb.errors import FileError
from tests.fuzz import edits
from tests.fuzz.subjects import DOCUMENT, Subject

ROOT = Path(__file__).parents[2]
EXTENSION = ROOT / "labextension"


def missing() -> str:
    """What the reader needs and is not there; empty where all is."""
    if not shutil.which("node"):
        return "node"
    packages = EXTENSION / "node_modules"
    return next((name for name in ("typescript", "fflate") if not (packages / name).exists()), "")


class Reader:
    """A process that reads one file after the other."""

    def __init__(self):
        self.process = subprocess.Popen(
            ["node", str(Path(__file__).with_name("documents.mjs")), str(EXTENSION)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *error) -> None:
        self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()

    def read(self, path: Path) -> None:
        """A `FileError` where the extension says that it cannot show the file."""
        print(json.dumps({"file": base64.b64encode(path.read_bytes()).decode()}), file=self.process.stdin, flush=True)
        said = json.loads(self.process.stdout.readline())
        if said == "refused":
            raise FileError("open", "what cannot be shown", "save it again")
        assert said == "read", said


def documents(reader: Reader, *, of: Subject) -> Subject:
    """The documents of a workflow's file: as it stands there, and alone."""
    found = json.loads(of.members[DOCUMENT])

    def build(text: str) -> bytes:
        return edits.zipped([(DOCUMENT, text.encode())])

    members = {name: of.members[name] for name in (DOCUMENT, "workflow.json")}
    good, levels = edits.zipped(list(members.items())), {"json": (found, build)}
    return Subject("document", good, reader.read, levels, members, ("markup", "link"))
