"""Edited files: what does not fit is a FileError, nothing in them runs, and lines of code are a workflow's steps."""

import ast
import copy
import io
import json
import random
import zipfile

import pytest

import qnb
from qnb import schema
from qnb.errors import FileError, QnbError
from qnb.workflow.documents import workflow as documents

ATTACK = "__import__('pathlib').Path('attacked').touch()"


@pytest.fixture(scope="module")
def members(full, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "full.qnb"
    flow = copy.copy(full)  # with a few runs, to be read many times
    flow.runs = {name: full[name] for name in ("fp32", "fp16", "w8a8", "low")}
    flow.save(path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def load(members, tmp_path, monkeypatch):
    """Loads the file with another ``workflow.json`` or other members; looks that no attack succeeded."""
    monkeypatch.chdir(tmp_path)

    def load(content=None, **changed):
        data = members | ({} if content is None else {"workflow.json": json.dumps(content)}) | changed
        with zipfile.ZipFile(tmp_path / "x.qnb", "w") as archive:
            for name, value in data.items():
                if value is not None:
                    archive.writestr(name, value)
        return qnb.load(tmp_path / "x.qnb")

    yield load
    assert not (tmp_path / "attacked").exists()


@pytest.fixture
def content(members):
    return json.loads(members["workflow.json"])


def put(content, path, value):
    for key in path[:-1]:
        content = content[key]
    content[path[-1]] = value


RUN, FRONT = ("runs", 3), ("pareto_fronts", 0)


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("version",), 4, "newer version of qnb"),
        (("version",), "2", "no version"),
        (("format",), "other", "another kind"),
        (("tolerance",), -1, "minimum"),
        (("seed",), 0.5, "integer"),
        (("target", "name"), None, "string"),
        (("anything",), 1, "unexpected"),
        (("runs",), {}, "array"),
        ((*RUN, "sim"), None, "simulations are not those"),
        ((*RUN, "sim"), 99, "simulations are not those"),
        ((*RUN, "sim"), 0, "simulations are not those"),
        ((*RUN, "name"), "w8a8", "of one run"),
        ((*RUN, "name"), "fp32", "fp32"),
        ((*RUN, "name"), ["low"], "string"),
        ((*RUN, "drop"), None, "lacks"),
        ((*RUN, "comparison"), None, "lacks"),
        ((*RUN, "comparison", "columns"), [], "column 'layer'"),
        ((*RUN, "comparison", "columns", 0, "values", 0), "other", "other layers"),
        ((*RUN, "comparison", "columns", 0, "values"), ["stem"], "unlike lengths"),
        ((*RUN, "comparison", "columns", 4, "values", 1), "1 dB", "text in it"),
        ((*RUN, "comparison", "columns", 4, "values", 1), {"a": 1}, "something else"),
        ((*RUN, "comparison", "columns", 4, "values", 1), 10**400, "too large"),
        ((*RUN, "comparison", "columns", 4, "dtype"), "object", "not a number|own_sqnr_db"),
        ((*RUN, "comparison", "columns", 4, "dtype"), "datetime64[ns]", "dtype"),
        ((*RUN, "comparison", "columns", 11, "values", 0), 2**70, "too large"),
        ((*RUN, "comparison", "columns", 1, "name"), "layer", "of one name"),
        ((*RUN, "comparison", "index"), {"name": "i", "dtype": "int64", "values": [1]}, "another length"),
        ((*RUN, "clipping", "columns", 0, "values", 0), "gone", "other layers"),
        ((*RUN, "clipping", "columns", 1, "values", 0), "weight", "clipped values"),
        ((*RUN, "clipping", "columns", 2, "values", 0), 1.5, "clipped values"),
        ((*RUN, "clipping", "columns", 2, "values", 0), "nan", "clipped values"),
        ((*RUN, "clipping", "columns", 7, "values", 0), -1, "a count"),
        ((*RUN, "clipping"), None, "object"),
        ((*RUN, "clipping", "columns"), [], "column 'layer'"),
        ((*RUN, "score", "value"), "0.9", "type|valid"),
        ((*RUN, "score", "n"), 7, "per-sample"),
        ((*RUN, "score", "per_sample"), ["1.0"] * 32, "text in it"),
        ((*RUN, "score", "per_sample", 0), None, "something else"),
        ((*RUN, "verdict", "status"), "splendid", "splendid"),
        ((*RUN, "settings", "layers"), {"head": 8}, "string"),
        ((*RUN, "settings", "options"), {"percentile": {"$code": "x"}}, "code"),
        ((*RUN, "settings"), {"$tuple": []}, "tuple"),
        ((*RUN, "settings", "from"), "fp32", "recovered from 'fp32'"),
        ((*RUN, "cost", "attrs"), {"$float": "nan"}, "float"),
        ((*RUN, "recovery"), [{}], "required"),
        ((*RUN, "cost", "columns", 2, "values", 0), -1, "a count"),
        ((*RUN, "size_bytes"), 1.5, "integer"),
        (("check", "facts"), {}, "layers"),
        (("check", "issues"), [{"tone": "good", "text": ""}], "good"),
        (("proposal", "sim"), 1, "simulations are not those"),
        (("sensitivities", 0, "run"), "gone", "run 'gone'"),
        (("sensitivities", 0, "table", "columns", 2, "name"), "scores", "'score'"),
        (("attributions", 0, "run"), "gone", "run 'gone'"),
        (("attributions", 0, "passes"), -1, "minimum|valid"),
        (("attributions", 0, "table", "columns", 2, "name"), "inherited", "'inherited_db'"),
        (("calibration_curves", 0, "run"), "gone", "run 'gone'"),
        (("calibration_curves", 0, "table", "columns", 0, "values", 0), 99, "do not grow"),
        (("calibration_curves", 0, "ranges", "columns", 2, "values", 0), 2, "two ranges"),
        (("diagnoses", 0, "run"), "gone", "run 'gone'"),
        (("deployments", 0, "files", "columns"), [{"name": "file", "dtype": "text", "values": []}], "0 rows"),
        (("deployments", 0, "runtimes", 0, "latency", "median_ms"), -1, "minimum|valid"),
        (("performance", "gone"), {"file_bytes": 1, "latency": None, "note": ""}, "run 'gone'"),
        ((*FRONT, "run"), "fp32", "no simulation"),
        ((*FRONT, "chosen"), 99, "a place 99"),
        ((*FRONT, "groups", 0, "layers", 0), "gone", "layers 'gone'"),
        ((*FRONT, "groups", 0, "activations", 0), "gone", "activations 'gone'"),
        ((*FRONT, "groups", 0, "options", 0), 9, "a place 9"),
        ((*FRONT, "groups", 0, "costs", 0), -1, "costs that are none"),
        ((*FRONT, "groups", 1, "costs", 0), 1e6, "costs something else"),
        ((*FRONT, "points", 0, "choice", 0), True, "a place True"),
        ((*FRONT, "points", 0, "choice"), [], "choose for each group"),
        ((*FRONT, "points", 0, "cost"), 1e9, "costs something else"),
        ((*FRONT, "points", 0, "loss"), 0.0, "rise while"),
        ((*FRONT, "candidates", 0, "weights"), None, "integer grids"),
        ((*FRONT, "candidates", 0, "weights", "bits"), 77, "bits=77"),
        ((*FRONT, "scores", 0, "point"), 50, "a place 50"),
        ((*FRONT, "reference"), None, "without its reference"),
        ((*FRONT, "highest"), 0, "minimum"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_does_not_fit_is_named(load, content, path, value, says):
    put(content, path, value)
    with pytest.raises(FileError, match=says) as error:
        load(content)
    assert "qnb.load(" in str(error.value) and "To fix" in str(error.value)


def test_a_number_that_json_reads_as_infinity(load, members):
    text = members["workflow.json"].decode()
    for old, new in (('"tolerance": 0.02', '"tolerance": 1e999'), ('"tolerance": 0.02', '"tolerance": NaN')):
        assert text.count(old) > 0
        with pytest.raises(FileError, match="damaged"):
            load(**{"workflow.json": text.replace(old, new, 1)})


ADDED = {"attributions", "calibration_curves", "worst"}
"""Keys that files of before do not have."""


def test_a_file_of_before_clipping_was_counted(load, content, full):
    for run in content["runs"]:
        run.pop("clipping", None)
    assert load(content)["low"].clipping is None and full["low"].clipping is not None


def test_every_key_is_needed(load, content):
    for key in content.keys() - ADDED:
        with pytest.raises(FileError):
            load({name: value for name, value in content.items() if name != key})


def test_a_file_of_before_has_no_attributions(load, content):
    assert load(content).attributions
    assert not load({name: value for name, value in content.items() if name not in ADDED}).attributions


@pytest.mark.parametrize(
    ("code", "kept"), [(ATTACK, ""), (f"flow.run({ATTACK})", ""), ("os.run('x')", "flow.run('x')")]
)
def test_a_line_of_code_that_is_no_step_is_left_out(load, content, code, kept):
    put(content, ("diagnoses", 0, "findings", 0, "code"), code)
    run = next(r for r in content["runs"] if r["next_steps"])
    run["next_steps"][0]["code"] = code
    loaded = load(content)
    assert next(iter(loaded.diagnoses["low"])).code == loaded[run["name"]].next_steps[0].code == kept
    assert code not in loaded.diagnoses["low"]._repr_html_()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ((*FRONT, "options", "cost"), {"$named": ATTACK}),
        ((*FRONT, "options"), {f"x={ATTACK}, y": 1}),
        ((*FRONT, "options", "cost"), {"$table": {"columns": []}}),
        ((*RUN, "settings", "options"), {f"x={ATTACK}": 1}),
        ((*RUN, "settings", "options"), {"x": {"$named": ATTACK}}),
    ],
)
def test_what_comes_to_stand_in_a_line_of_code_is_a_name_or_a_literal(load, content, path, value):
    put(content, path, value)
    with pytest.raises(FileError):
        load(content)


def test_text_in_a_line_of_code_is_a_literal(load, content):
    put(content, (*FRONT, "options", "cost"), f'bops"); {ATTACK}; ("')
    line = load(content).pareto_fronts["low"].code()
    calls = [node for node in ast.walk(ast.parse(line)) if isinstance(node, ast.Call)]
    assert len(calls) == 1 and ATTACK in line


class TestArchive:
    @pytest.mark.parametrize(
        "name",
        ["sims/7.safetensors", "sims/01.safetensors", "../x", "sims/0.pt", "notes.txt", "/workflow.json", "sims/"],
    )
    def test_members_that_no_file_has(self, load, name):
        with pytest.raises(FileError, match="no .qnb file has|not those that its runs name"):
            load(**{name: b"x"})

    @pytest.mark.parametrize("name", ["workflow.json", "sims/0.safetensors", "model.safetensors"])
    def test_members_that_are_missing(self, load, name):
        with pytest.raises(FileError):
            load(**{name: None})

    def test_two_of_one_name(self, members, tmp_path):
        with zipfile.ZipFile(tmp_path / "x.qnb", "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
            for name in (*members, "workflow.json"):
                archive.writestr(name, members[name])
        with pytest.raises(FileError, match="of one name"):
            qnb.load(tmp_path / "x.qnb")

    def test_packed_tensors(self, members, tmp_path):
        with zipfile.ZipFile(tmp_path / "x.qnb", "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        with pytest.raises(FileError, match="is packed"):
            qnb.load(tmp_path / "x.qnb")

    @pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    def test_other_ways_to_pack(self, members, tmp_path, method):
        with zipfile.ZipFile(tmp_path / "x.qnb", "w", method) as archive:
            archive.writestr("workflow.json", members["workflow.json"])
        with pytest.raises(FileError, match="no .qnb file has"):
            qnb.load(tmp_path / "x.qnb")

    def test_a_bomb(self, tmp_path, monkeypatch):
        monkeypatch.setattr(schema, "LARGEST", 100_000)
        with zipfile.ZipFile(tmp_path / "x.qnb", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("workflow.json", b"[" * 1_000_000)
        with pytest.raises(FileError, match="would unpack to 1,000,000"):
            qnb.load(tmp_path / "x.qnb")

    def test_a_bomb_that_lies_about_its_size(self, tmp_path, monkeypatch):
        """The size in the directory is small; what unpacks is not read beyond it."""
        monkeypatch.setattr(schema, "LARGEST", 100_000)
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("workflow.json", b" " * 5_000_000)
        data = buffer.getvalue().replace((5_000_000).to_bytes(4, "little"), (50).to_bytes(4, "little"))
        (tmp_path / "x.qnb").write_bytes(data)
        with pytest.raises(FileError, match="damaged"):
            qnb.load(tmp_path / "x.qnb")

    @pytest.mark.parametrize("damage", ["cut", "empty", "text", "flip", "encrypted"])
    def test_damaged(self, load, tmp_path, damage):
        load()
        data = bytearray((tmp_path / "x.qnb").read_bytes())
        if damage == "flip":
            data[data.index(b"model.safetensors") + 4000] ^= 0xFF
        elif damage == "encrypted":
            for at in (i + 6 for i in range(len(data)) if data[i : i + 4] == b"PK\x03\x04"):
                data[at] |= 1
            for at in (i + 8 for i in range(len(data)) if data[i : i + 4] == b"PK\x01\x02"):
                data[at] |= 1
        else:
            data = {"cut": data[: len(data) // 2], "empty": b"", "text": b"PK\x03\x04 no zip"}[damage]
        (tmp_path / "x.qnb").write_bytes(data)
        with pytest.raises(FileError, match="x.qnb"):
            qnb.load(tmp_path / "x.qnb")

    def test_deep_and_broken_json(self, load):
        for text in ("[" * 100_000, '{"a":' * 50_000, "{", "", "\xff", '"x"', "null", "[]"):
            with pytest.raises(FileError):
                load(**{"workflow.json": text})


def places(node, path=()):
    yield path
    for key in node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
        yield from places(node[key], (*path, key))


VALUES = (
    None,
    True,
    -1,
    7,
    1.5,
    1e308,
    10**400,
    "",
    ATTACK,
    "nan",
    [],
    {},
    [1],
    {"a": 1},
    {"$float": "nan"},
    {"$named": ATTACK},
    {"$table": {"columns": []}},
    {"$dict": [[[1], 2]]},
)


@pytest.mark.parametrize("seed", range(6))
def test_random_edits_are_refused_or_show(load, content, seed):
    """What loads can be looked at. (A long run of these is part of every change of the format.)"""
    chance = random.Random(seed)
    by_kind = {}
    for path in places(content):
        by_kind.setdefault(tuple("#" if isinstance(k, int) else k for k in path), []).append(path)
    kinds = [kind for kind in by_kind if kind]
    for _ in range(2):
        changed = copy.deepcopy(content)
        put(changed, chance.choice(by_kind[chance.choice(kinds)]), chance.choice(VALUES))
        try:
            flow = load(changed)
        except FileError:
            continue
        try:
            assert documents.dashboard(flow).html() and not flow.summary().empty
        except QnbError:
            pass
