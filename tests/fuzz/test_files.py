"""Files from strangers: what is read is whole, what is not is refused with qnb's own error, and no code runs."""

import os
import random
import resource
import time

import pytest

from qnb.errors import QnbError
from tests.fuzz import edits, extension, kills, saver, subjects

DRAWN = {"simulation": 100, "workflow": 50, "encodings 1.0.0": 50, "encodings 2.0.0": 50, "document": 200}
EVERY = {"simulation": 15, "workflow": 50, "encodings 1.0.0": 6, "encodings 2.0.0": 4, "document": 5}
"""Which of the files with code in them are read."""
GROWTH = 1_000_000
"""kB that reading edited files may add to what the process has."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="module")
def workflow(folder):
    return subjects.workflow(folder)


@pytest.fixture(scope="module", params=list(DRAWN))
def subject(request, folder, workflow):
    kind, _, version = request.param.partition(" ")
    if kind == "workflow":
        yield workflow
    elif kind == "simulation":
        yield subjects.simulation(folder)
    elif kind == "encodings":
        yield subjects.encodings(folder, version)
    elif missing := extension.missing():
        pytest.skip(f"{missing} is not installed; tests/browser/test_strange_documents.py reads documents in the page")
    else:
        with extension.Reader() as reader:
            yield extension.documents(reader, of=workflow)


def test_what_is_not_edited_is_read(subject, folder):
    assert subjects.outcome(subject, subject.data, folder) == "read"
    for value, build in subject.levels.values():
        assert subjects.outcome(subject, build(edits.text(value)), folder) == "read"


@pytest.mark.slow
def test_edited_files_are_read_or_refused(subject, folder):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    files = [subject.drawn(random.Random(seed)) for seed in range(DRAWN[subject.name])]
    found = {kind: subjects.outcome(subject, data, folder) for kind, data in files}
    assert {kind: said for kind, said in found.items() if said not in ("read", "refused")} == {}
    assert set(found.values()) == {"read", "refused"}
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < GROWTH


@pytest.mark.slow
def test_code_in_a_file_is_not_run(subject, folder):
    files = list(subject.code())[:: EVERY[subject.name]]
    assert len(files) >= 20
    assert {subjects.outcome(subject, data, folder) for _, data in files} <= {"read", "refused"}


class Careless:
    """A reader with every fault that is looked for."""

    @staticmethod
    def read(path):
        text = path.read_text()
        if "slow" in text:
            time.sleep(60)
        eval(text)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (edits.CODE["expression"], "code ran"),
        ("1 / 0", "ZeroDivisionError"),
        ("(", "SyntaxError"),
        ("1", "read"),
        ("slow", "TooLong"),
    ],
)
def test_a_careless_reader_is_found_out(data, said, tmp_path, monkeypatch):
    monkeypatch.setattr(subjects, "LONGEST_S", 1)
    careless = subjects.Subject("careless", b"", Careless.read)
    assert said in subjects.outcome(careless, data.encode(), tmp_path)
    os.environ.pop(edits.MARK, None)


def test_the_same_seed_gives_the_same_edits(folder):
    subject = subjects.encodings(folder, "1.0.0")
    assert [subject.drawn(random.Random(7)) for _ in range(2)] == [subject.drawn(random.Random(7))] * 2


def test_every_kind_of_edit_is_drawn():
    value = {"a": [1, {"b": "text"}], "c": {"d": 0.5}}
    kinds = {edits.edit(value, random.Random(seed))[0] for seed in range(200)}
    assert kinds == set(edits._EDITS)
    assert value == {"a": [1, {"b": "text"}], "c": {"d": 0.5}}


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    kills.prepare(folder := tmp_path_factory.mktemp("kills"))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("kind", kills.KINDS)
def test_a_killed_saver_leaves_a_whole_file(pair, kind):
    assert kills.kill(kind, pair, 5, random.Random(0)).total() == 5


@pytest.mark.slow
def test_a_careless_saver_is_found_out(pair):
    with pytest.raises(QnbError, match="cut short|damaged"):
        kills.kill("simulation", pair, 5, random.Random(0), saver.save_carelessly)
