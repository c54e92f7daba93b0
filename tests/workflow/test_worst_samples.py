"""flow.worst_samples: what each kind of input is shown as, in a figure and in a page without scripts."""

import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from torch import nn

import qnb
from qnb import schema
from qnb.document_schema import DOCUMENT
from qnb.errors import InputError, QnbError


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def workflow(model: nn.Module, data: list) -> qnb.Workflow:
    flow = qnb.Workflow(model.eval(), data, lambda m: 1.0)
    flow.run("w4a4")
    return flow


@pytest.fixture(scope="module")
def pictures() -> qnb.Workflow:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5))
    return workflow(model, [draw(i, 6, 3, 8, 8) for i in range(3)])


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Embedding(20, 8), nn.Linear(8, 3)

    def forward(self, ids, mask):
        return self.head((self.embed(ids) * mask[..., None]).mean(1))


@pytest.fixture(scope="module")
def tokens() -> qnb.Workflow:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    ids = [torch.randint(0, 20, (5, 60), generator=generator) for _ in range(2)]
    return workflow(Words(), [{"ids": i, "mask": torch.ones(5, 60)} for i in ids])


class Waves(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv1d(2, 4, 5), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(torch.relu(self.conv(x)).mean(-1))


def page(found) -> str:
    """The document's HTML; as data it keeps to the contract."""
    document = found.document()
    schema.check(document.json(), DOCUMENT, "read", "write it again")
    assert "<script" not in document.html() and found.caption() in document.text()
    return document.html()


def test_pictures(pictures):
    found = pictures.worst_samples("w4a4", count=5)
    (figure,) = found.figures()
    assert len(figure.layout.images) == 5 and len(found.inputs) == 5
    first = found.table.iloc[0]
    assert (
        found.caption().endswith(f"sample {first['sample']}")
        and f"sample {first['sample']}, " in figure.layout.annotations[0].text
    )
    html = page(found)
    assert html.count("data:image/svg+xml") == 1 and html.count("data:image/png") == 5
    assert found.inputs[0].shape == (1, 3, 8, 8) and "position" not in html
    everything = torch.cat(list(pictures.calibration))
    assert torch.equal(found.inputs[0][0], everything[first["sample"]])


def test_flipped(pictures):
    found = pictures.worst_samples("w4a4", "flipped")
    run = pictures["w4a4"]
    with torch.no_grad():
        x = torch.cat(list(pictures.calibration))
        flipped = (run.sim.reference_model(x).argmax(1) != run.sim(x).argmax(1)).nonzero()[:, 0].tolist()
    assert sorted(found.table["sample"]) == sorted(flipped) == sorted(set(flipped)) and flipped
    row = found.table.iloc[0]
    assert found.chart().layout.annotations[0].text.endswith(f"<br>{row.fp32_prediction} → {row.quantsim_prediction}")
    assert found.caption() == f"w4a4: {len(flipped)} of 18 samples flipped" and page(found)


def test_at_a_layer(pictures):
    layer = pictures["w4a4"].comparison.layer[0]
    found = pictures.worst_samples("w4a4", layer, 3)
    samples = pictures.layer("w4a4", layer).profile.samples
    assert found.table["sample"].tolist() == samples["sample"][:3].tolist() and f"at {layer} " in found.caption()


def test_tokens_of_a_dict(tokens):
    found = tokens.worst_samples("w4a4", count=2)
    assert not found.figures() and found.inputs[0]["ids"].shape == (1, 60)
    ids = " ".join(map(str, found.inputs[0]["ids"][0, :48].tolist()))
    assert f"{ids} … (60 tokens)" in page(found)


def test_signals():
    flow = workflow(Waves(), [draw(i, 4, 2, 50) for i in range(2)])
    found = flow.worst_samples("w4a4", count=3)
    (figure,) = found.figures()
    assert len(figure.data) == 2 and not figure.layout.images and page(found).count("<img") == 1


def test_other_data(pictures):
    mine = [draw(9, 4, 3, 8, 8)]
    found = pictures.worst_samples("w4a4", count=50, batches=mine)
    assert found.seen == len(found.table) == 4
    assert len(pictures.worst_samples("w4a4", batches=found.inputs).table) == 4


def test_show_returns_text_which_is_shown_as_text(tokens):
    found = tokens.worst_samples("w4a4", count=2, show=lambda s: f"<script>alert({int(s['ids'][0])})</script>")
    assert "&lt;script&gt;alert(" in page(found) and found.views[0].text in repr(found.document().text())


@pytest.mark.parametrize(
    ("show", "kind"),
    [
        (lambda x: x, "picture"),
        (lambda x: x[0], "signal"),
        (lambda x: x.mean(0, keepdim=True).numpy(), "picture"),
        (lambda x: go.Figure(go.Heatmap(z=x[0].numpy()), {"title": "map"}), "figure"),
        (lambda x: {"mean": 1}, "text"),
    ],
    ids=["tensor", "two dimensions", "array", "Plotly", "anything"],
)
def test_what_show_may_return(pictures, show, kind):
    found = pictures.worst_samples("w4a4", count=2, show=show)
    view = found.views[0]
    assert {"picture": isinstance(view.drawn, bytes), "signal": isinstance(view.drawn, np.ndarray)}.get(
        kind, bool(view.figure is not None if kind == "figure" else view.text)
    )
    assert page(found) and len(found.figures()) == {"figure": 2, "text": 0}.get(kind, 1)


def test_show_that_makes_a_file_of_its_own(pictures):
    class Drawn:
        def _repr_png_(self):
            return b"\x89PNG\r\n\x1a\n"

    assert pictures.worst_samples("w4a4", count=1, show=lambda x: Drawn()).views[0].drawn == b"\x89PNG\r\n\x1a\n"


def test_show_that_raises_is_named_before_any_work(pictures):
    calls = []

    def broken(x):
        raise ValueError("no vocabulary")

    with pytest.raises(InputError, match=r"flow\.worst_samples.*raised ValueError: no vocabulary for the first sample"):
        pictures.worst_samples("w4a4", show=broken, progress=lambda *_: calls.append(1))
    assert not calls


def test_show_that_raises_later_names_the_sample(pictures):
    calls = []

    def broken(x):
        calls.append(1)
        if len(calls) > 2:
            raise KeyError("id")

    with pytest.raises(InputError, match=r"raised KeyError: 'id' for sample \d+"):
        pictures.worst_samples("w4a4", show=broken)


@pytest.mark.parametrize(
    "wrong",
    [("none",), ("w4a4", "nolayer"), ("w4a4", "output", 0), ("w4a4", "output", 1, "decode"), ("fp32",)],
    ids=["run", "layer", "count", "show", "no simulation"],
)
def test_what_is_wrong_is_said(pictures, wrong):
    with pytest.raises(QnbError):
        pictures.worst_samples(*wrong)


def test_nothing_flipped_is_an_answer():
    torch.manual_seed(0)
    flow = qnb.Workflow(nn.Linear(4, 3).eval(), [draw(0, 8, 4)], lambda m: 1.0)
    flow.run("w16a16")
    found = flow.worst_samples("w16a16", "flipped")
    assert (
        found.table.empty
        and not found.figures()
        and found.caption() == "w16a16: 0 of 8 samples flipped"
        and page(found)
    )


def test_it_runs_as_a_job(pictures):
    job = pictures.submit(pictures.worst_samples, "w4a4", count=2)
    assert len(job.wait().table) == 2
