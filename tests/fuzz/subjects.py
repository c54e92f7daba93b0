"""What is edited: one small file of each kind, how it comes apart into JSON and bytes, and how it is read."""

from __future__ import annotations

import json
import os
import random
import signal
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

import qnb
from qnb.errors import QnbError
from tests.fuzz import edits

LONGEST_S = 20
"""A file that takes longer to read than this is a fault."""


@dataclass(frozen=True)
class Subject:
    """A kind of file.

    Args:
        name: of the kind.
        data: a good file.
        read: takes a path, and uses what it reads; a `QnbError` where it refuses the file.
        levels: name to (JSON, from JSON to the file's bytes): what stands in the file.
        members: of a zip, else empty.
        forms: of code, to put at every place.
    """

    name: str
    data: bytes
    read: Callable[[Path], None]
    levels: dict[str, tuple[Any, Callable[[str], bytes]]] = field(default_factory=dict)
    members: dict[str, bytes] = field(default_factory=dict)
    forms: tuple[str, ...] = ("default",)

    def code(self) -> Iterator[tuple[str, bytes]]:
        """Code at every text and key of every level: (kind of edit, file)."""
        for level, (value, build) in self.levels.items():
            for kind, edited in edits.code_edits(value, self.forms):
                yield f"{level}: {kind}", build(edits.text(edited))

    def drawn(self, chance: random.Random) -> tuple[str, bytes]:
        """One edit at random: (kind of edit, file)."""
        place = chance.choice([*self.levels] * 4 + ["bytes"] + ["zip"] * bool(self.members))
        if place == "bytes":
            kind, data = edits.edit_bytes(self.data, chance)
            return f"bytes: {kind}", data
        if place == "zip":
            kind, data = edits.edit_zip(self.members, chance)
            return f"zip: {kind}", data
        value, build = self.levels[place]
        for _ in range(chance.choice([1, 1, 1, 2, 4])):
            kind, value = edits.edit(value, chance)
        return f"{place}: {kind}", build(edits.text(value))


def outcome(subject: Subject, data: bytes, folder: Path) -> str:
    """``"read"``, ``"refused"``, or what went wrong in words."""
    path = folder / f"{subject.name}.file"
    path.write_bytes(data)
    os.environ.pop(edits.MARK, None)
    try:
        with _limit():
            subject.read(path)
        found = "read"
    except QnbError:
        found = "refused"
    except BaseException as error:
        found = f"{type(error).__name__}: {str(error)[:200]}"
    return "code ran" if edits.MARK in os.environ else found


class TooLong(BaseException):
    """Reading did not end."""


@contextmanager
def _limit():
    def stop(*_):
        raise TooLong

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LONGEST_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


class Net(nn.Module):
    """A few layers of different kinds, and sizes that are computed."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 2, 3, bias=False), nn.BatchNorm2d(2), nn.ReLU())
        self.head = nn.Linear(2, 3)

    def forward(self, x, bias=None):
        y = self.body(x).reshape(x.shape[0], 2, -1).mean(-1)
        return {"logits": self.head(torch.cat([y[:, :1], y[:, 1:]], 1)), "none": None, "twice": (y * 2,)}


INPUTS = {"x": torch.linspace(-1, 1, 50).reshape(2, 1, 5, 5)}


def _sim(precision: str = "w4a8") -> qnb.QuantSim:
    torch.manual_seed(0)
    return qnb.QuantSim(Net().eval(), INPUTS, precision).calibrate([INPUTS])


def _use(action: Callable[[], Any]) -> None:
    """What was read may be of no use, which is no fault; code in it would run here."""
    try:
        with torch.no_grad():
            action()
    except Exception:
        pass


def simulation(folder: Path) -> Subject:
    sim = _sim()
    with torch.no_grad():
        sim.model.head.weight.mul_(1.5)
    sim.save(path := folder / "good.sim")
    data = path.read_bytes()

    def read(path: Path) -> None:
        loaded = qnb.QuantSim.load(path)
        _use(lambda: loaded(**INPUTS))
        _use(lambda: (repr(loaded), loaded._repr_html_(), loaded.copy().set_precision(None, "w8a16")))

    return Subject("simulation", data, read, dict(_safetensors(data, "qnb.quantsim")))


def _safetensors(data: bytes, kind: str) -> Iterator[tuple[str, tuple[Any, Callable[[str], bytes]]]]:
    """The list of tensors, and the header that stands as text inside it."""
    length = int.from_bytes(data[:8], "little")
    outer, body = json.loads(data[8 : 8 + length]), data[8 + length :]

    def with_outer(text: str) -> bytes:
        head = text.encode()
        return len(head).to_bytes(8, "little") + head + body

    def with_header(text: str) -> bytes:
        return with_outer(json.dumps(outer | {"__metadata__": outer["__metadata__"] | {kind: text}}))

    yield "header", (json.loads(outer["__metadata__"][kind]), with_header)
    yield (
        "tensors",
        (
            {k: v for k, v in outer.items() if k != "__metadata__"},
            lambda text: with_outer(_joined(text, outer["__metadata__"])),
        ),
    )


def _joined(text: str, metadata: dict) -> str:
    return text[:-1] + (", " if text[1:-1] else "") + '"__metadata__": ' + json.dumps(metadata) + "}"


def encodings(folder: Path, version: str) -> Subject:
    sim = _sim()
    path = qnb.export_encodings(sim, folder / "good.encodings", version)
    content, data = json.loads(path.read_text()), path.read_bytes()

    def read(path: Path) -> None:
        fresh = sim.copy()
        before = fresh.encodings()
        try:
            fresh.load_encodings(path)
        except QnbError:
            assert fresh.encodings().equals(before), "a refused file has changed the sim"
            raise
        fresh(**INPUTS)

    return Subject(f"encodings {version}", data, read, {"json": (content, str.encode)})


def make_workflow(path: Path, *precisions: str) -> qnb.Workflow:
    """A small workflow with these runs, saved."""

    def evaluate(model) -> qnb.Score:
        return qnb.Score(float(model(**INPUTS)["logits"].mean()), 2)

    torch.manual_seed(0)
    flow = qnb.Workflow(Net().eval(), [INPUTS, INPUTS], evaluate, tolerance=0.05)
    for precision in ("fp16", *precisions):
        flow.run(precision)
    flow.save(path)
    return flow


def workflow(folder: Path) -> Subject:
    flow = make_workflow(folder / "good.qnb", "w8a8")
    flow.check()
    flow.sensitivity("w8a8", "sqnr")
    flow.save(path := folder / "good.qnb")
    members, levels = edits.unzipped(data := path.read_bytes()), {}
    for name in members:
        if name.endswith(".json") and name != DOCUMENT:
            levels[name] = json.loads(members[name]), _in_zip(members, name)
        elif name.endswith(".safetensors"):
            inner = dict(_safetensors(members[name], _kind(members[name])))
            value, build = inner["header"]
            levels[name] = value, lambda text, name=name, build=build: _in_zip(members, name)(build(text))

    def read(path: Path) -> None:
        loaded = qnb.load(path)
        _use(
            lambda: (loaded.summary(), loaded.next_steps(), repr(loaded), loaded._repr_html_(), loaded.compare("w8a8"))
        )
        for run in loaded.runs.values():
            _use(lambda run=run: (repr(run), run._repr_html_(), run.sim(**INPUTS)))

    return Subject("workflow", data, read, levels, members)


DOCUMENT = "document.json"


def _kind(data: bytes) -> str:
    """The name of the header in a file of tensors."""
    length = int.from_bytes(data[:8], "little")
    return next(iter(json.loads(data[8 : 8 + length])["__metadata__"]))


def _in_zip(members: dict[str, bytes], name: str) -> Callable[[str | bytes], bytes]:
    """From one member's content to the file."""

    def build(content: str | bytes) -> bytes:
        new = content.encode() if isinstance(content, str) else content
        return edits.zipped(list((members | {name: new}).items()), zipfile.ZIP_STORED)

    return build


def subjects(folder: Path) -> list[Subject]:
    """One of each kind that Python reads."""
    return [simulation(folder), workflow(folder), encodings(folder, "1.0.0"), encodings(folder, "2.0.0")]
