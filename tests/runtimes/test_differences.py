"""What rounding explains, and where the rest begins: on drawn tables, and on a file that computes something else."""

import math

import pandas as pd
import pytest
import torch
from torch import nn

import qnb
from qnb.runtimes import differences, wiring
from qnb.runtimes.wiring import Source, Wiring

INF, NAN = math.inf, math.nan


def drawn(rows, bits=8, outputs=(), **sources):
    """(table, wiring): rows of (layer, what it reads, SQNR, largest difference in steps); an output reads the last."""
    table = [(layer, "conv2d", db, steps, 0.5) for layer, _, db, steps in rows]
    table += outputs or [("output", "output", rows[-1][2], rows[-1][3], 0.5)]
    columns = ["layer", "op", "sqnr_db", "max_steps", "within_one_fraction"]
    layers = {layer: Source(tuple(reads.split()), bits) for layer, reads, *_ in rows} | sources.pop("layers", {})
    ends = sources.pop("ends", (Source((rows[-1][0],), bits),))
    return pd.DataFrame(table, columns=columns).assign(equal_fraction=NAN), Wiring(layers, ends)


def begins(rows, **how):
    (found,) = differences.find(*drawn(rows, **how))
    assert not found.why
    return found


def test_what_rounding_leaves_is_no_difference():
    """The demo's transformer on HTP at W8A8: three blocks, 20.8 dB after a softmax inside, 24.7 dB at an output."""
    rows = [("a", "", 34.8, 3), ("b", "a", 25.8, 28), ("softmax", "b", 20.8, 47), ("norm", "softmax", 24.7, 14)]
    assert differences.find(*drawn(rows)) == ()
    assert begins(rows, bits=16).layer == "a", "at 16 bits it would be far too much"


def test_it_begins_at_the_first_layer_that_differs_more_than_its_inputs():
    rows = [
        ("stem", "", 55.0, 1),
        ("boxes", "stem", 50.0, 2),
        ("scores", "stem", 52.0, 2),
        ("softmax", "scores", 3.1, 90),
        ("log", "softmax", -36.0, 200),
    ]
    found = begins(rows)
    assert (found.layer, found.layer_db, found.input_db) == ("softmax", 3.1, 52.0)
    assert found.begins == "it begins at layer 'softmax' (conv2d: 3.1 dB, its input has 52.0 dB)"
    assert found.figures == "-36.0 dB, 22 expected" and found.name == "output 'output'"


def test_branches_are_followed_and_others_left_alone():
    """Graph order alone would blame ``aside``, whose difference never reaches the output."""
    rows = [
        ("stem", "", 60.0, 1),
        ("aside", "stem", 1.0, 90),
        ("left", "stem", 55.0, 1),
        ("right", "stem", 9.0, 80),
        ("add", "left right", 8.0, 80),
    ]
    assert begins(rows).layer == "right"


def test_a_layer_that_only_hands_on_what_its_input_has_is_not_blamed():
    rows = [("a", "", 27.0, 5), ("b", "a", 21.5, 8), ("c", "b", -3.0, 99), ("d", "c", -3.0, 99)]
    assert begins(rows).layer == "c"


def test_what_grows_from_layer_to_layer_is_said_to_do_so():
    rows = [(f"l{i}", f"l{i - 1}" if i else "", 38.0 - 3 * i, 20) for i in range(9)]
    found = begins(rows)
    assert found.layer == "l6" and found.begins.startswith("it grows from layer to layer, and is first too large at")


def test_a_fall_that_is_not_yet_below_what_is_expected_is_found_too():
    rows = [("a", "", 90.0, 1), ("b", "a", 47.0, 30), ("c", "b", 44.0, 50)]
    found = begins(rows, bits=16)
    assert found.layer == "b" and "it begins at layer 'b'" in found.begins


def test_layers_that_agree_when_looked_at():
    found = begins([("a", "", 50.0, 1)], outputs=[("output", "output", -1.0, 90, 0.1)])
    assert found.layer == "" and "only in the whole file" in found.begins


def test_zero_everywhere_is_no_overflow_of_ours():
    found = begins([("a", "", -INF, 90)])
    assert "(all of it zero or infinite, 22 expected)" in f"({found.figures})" and found.layer == "a"


@pytest.mark.parametrize("bits", [8, 16])
def test_a_signal_of_few_codes_is_judged_by_steps(bits):
    (found,) = differences.find(*drawn([("head", "", 4.0, 1)], bits=bits))
    assert found.why == "no code differs by more than 2 steps"
    assert begins([("head", "", 4.0, 3)], bits=bits).layer == "head"


def test_below_16_bits_a_simulation_far_from_fp32_is_as_far_from_a_runtime():
    table, made = drawn([("a", "", 18.0, 20)])
    assert differences.find(table, made)[0].expected_db == 22
    assert differences.find(table, made, {"a": 17.0}) == ()
    assert differences.find(*drawn([("a", "", 12.0, 20)]), {"a": 5.0})[0].expected_db == 15
    assert differences.find(*drawn([("a", "", 40.0, 20)], bits=16), {"a": 30.0})[0].expected_db == 45


class TestSeveralOutputs:
    ROWS = (("stem", "", 60.0, 1), ("boxes", "stem", 55.0, 1), ("classes", "stem", -36.0, 99))

    def test_each_is_judged_by_name(self):
        ends = (Source(("boxes",), 8), Source(("classes",), 8))
        outputs = [("out_boxes", "output", 55.0, 1, 1.0), ("out_classes", "output", -36.0, 99, 0.0)]
        found = begins(self.ROWS, outputs=outputs, ends=ends)
        assert found.output == "out_classes" and found.layer == "classes"

    def test_a_part_that_large_values_hide(self):
        """Scores beside boxes in one output: its SQNR is that of the boxes."""
        ends = (Source(("boxes", "classes"), 8, parts=("boxes", "classes")),)
        found = begins(self.ROWS, outputs=[("output", "output", 52.0, 99, 0.9)], ends=ends)
        assert (found.output, found.part, found.layer) == ("output", "classes", "classes")
        assert found.name == "the part of output 'output' from layer 'classes'"


class TestChoices:
    def of(self, equal, scores_db=40.0, ordered=False, steps=NAN, op="output"):
        end = Source(("scores",), 8, chosen=True, ordered=ordered)
        table, made = drawn([("scores", "", scores_db, 9)], outputs=[("place", op, 6.0, steps, NAN)], ends=(end,))
        table.loc[1, "equal_fraction"] = equal
        return differences.find(table, made)

    def test_class_numbers_are_counted(self):
        assert self.of(0.95) == () and self.of(0.95, scores_db=1.0) == ()
        assert self.of(0.6)[0].why == differences.CHOICE, "near ties turn"
        assert "40% of its values the same, 90% expected" in self.of(0.4)[0].figures and not self.of(0.4)[0].why
        assert self.of(0.6, scores_db=1.0)[0].layer == "scores", "not near ties: other scores"

    def test_places_in_an_order_say_nothing_where_the_values_agree(self):
        assert self.of(0.1, ordered=True)[0].why == differences.CHOICE
        assert not self.of(0.1, ordered=True, scores_db=1.0)[0].why

    def test_what_is_gathered_in_that_order_neither(self):
        """A layer after it, and an output that reads that layer."""
        layers = {"taken": Source(("scores", "boxes"), 8, chosen=True, ordered=True), "decoded": Source(("taken",), 8)}
        rows = [("scores", "", 40.0, 1), ("boxes", "", 45.0, 1), ("taken", "", 3.0, 90), ("decoded", "", 2.0, 90)]
        (found,) = differences.find(*drawn(rows, layers=layers))
        assert found.output == "output" and found.why == differences.CHOICE
        rows[1] = ("boxes", "", 1.0, 90)
        assert begins(rows, layers=layers).layer == "boxes"


class Detector(nn.Module):
    """Boxes and scores, joined."""

    def __init__(self):
        super().__init__()
        self.stem, self.boxes, self.classes = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 1), nn.Conv2d(8, 5, 1)

    def forward(self, x):
        hidden = torch.relu(self.stem(x))
        return torch.cat([self.boxes(hidden) * 20, self.classes(hidden).softmax(1)], 1).flatten(2)


@pytest.mark.parametrize("precision", ["w8a8", "w8a16", "fp16"])
def test_a_real_file(tmp_path, precision):
    """Of a simulation whose classes have other weights: every other layer agrees."""
    torch.manual_seed(0)
    model, x = Detector().eval(), torch.randn(8, 3, 8, 8)
    sim = qnb.QuantSim(model, x, precision).calibrate([x])
    runtime = qnb.runtimes.OnnxRuntime(qnb.export_onnx(sim, tmp_path / "right.onnx"))
    made = wiring.of(sim)
    assert differences.find(qnb.fidelity(sim, runtime, [x]), made) == ()
    with torch.no_grad():
        model.classes.weight.add_(torch.randn(5, 8, 1, 1) * 3)
    other = qnb.QuantSim(model, x, precision).calibrate([x])
    runtime = qnb.runtimes.OnnxRuntime(qnb.export_onnx(other, tmp_path / "wrong.onnx"))
    found = [d for d in differences.find(qnb.fidelity(sim, runtime, [x]), made) if not d.why]
    assert {d.layer for d in found} == {"classes"} and found[-1].input_db > differences.EXPECTED_DB[16]
