"""The worst input samples against a search over all of them at once."""

import numpy as np
import pytest
import torch
from torch import nn

import qnb
from qnb import columns
from qnb.errors import CalibrationError, InputError
from qnb.measures import worst_samples


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def batches():
    return [draw(i, 8 - i, 6) for i in range(3)]


@pytest.fixture
def sim(batches):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 4)).eval()
    return qnb.QuantSim(model, batches[0], "w2a4", target="generic").calibrate(batches)


def outputs(sim, batches):
    x = torch.cat(batches)
    with torch.no_grad():
        return sim.reference_model(x).double().numpy(), sim(x).double().numpy()


@pytest.mark.parametrize("count", [1, 5, 100])
def test_by_output_against_all_samples_at_once(sim, batches, count):
    found = worst_samples(sim, batches, count=count)
    reference, simulated = outputs(sim, batches)
    noise = (simulated - reference) ** 2
    db = 10 * np.log10((reference**2).sum(1) / noise.sum(1))
    order = np.argsort(db, kind="stable")[:count]
    assert tuple(found.table.columns) == columns.WORST_SAMPLES
    assert found.table["sample"].tolist() == order.tolist() and found.seen == 21
    assert np.allclose(found.table.sqnr_db, db[order], atol=1e-4) and np.allclose(found.table.mse, noise.mean(1)[order])
    assert found.table.batch.tolist() == [0 if i < 8 else 1 if i < 15 else 2 for i in order]
    assert found.table.fp32_prediction.tolist() == reference.argmax(1)[order].tolist()
    assert found.table.quantsim_prediction.tolist() == simulated.argmax(1)[order].tolist()
    for margin, side in (("fp32_margin", reference), ("quantsim_margin", simulated)):
        top = np.sort(side, 1)
        assert np.allclose(found.table[margin], (top[:, -1] - top[:, -2])[order], atol=1e-5)
    everything = torch.cat(batches)
    assert len(found.inputs) == len(order)
    assert all(torch.equal(x, everything[i : i + 1]) for x, i in zip(found.inputs, order, strict=True))


def test_by_flipped_has_all_that_flipped_and_no_other(sim, batches):
    found = worst_samples(sim, batches, "flipped", 100)
    reference, simulated = outputs(sim, batches)
    flipped = np.flatnonzero(reference.argmax(1) != simulated.argmax(1))
    assert sorted(found.table["sample"]) == flipped.tolist() and found.flipped == len(flipped) > 0
    assert found.table.flipped.all() and (np.diff(found.table.fp32_margin) <= 0).all()


def test_a_planted_flip_is_found(batches):
    model = nn.Linear(6, 2).eval()
    with torch.no_grad():
        model.weight.copy_(torch.eye(2, 6))
        model.bias.zero_()
    data = [torch.zeros(5, 6) for _ in range(3)]
    for batch in data:
        batch[:, 0] = 1.0
    data[1][3, :2] = torch.tensor([0.50, 0.52])  # on a grid with steps of 1/3 both are 2/3: the first wins
    coarse = qnb.Precision(qnb.Grid(8, symmetric=True), qnb.Grid(2))
    sim = qnb.QuantSim(model, data[0], coarse, target="generic").calibrate(data)
    found = worst_samples(sim, data, "flipped")
    assert found.table[["sample", "batch", "fp32_prediction", "quantsim_prediction"]].to_numpy().tolist() == [
        [8, 1, 1, 0]
    ]
    assert found.table.fp32_margin[0] == pytest.approx(0.02, abs=1e-6) and torch.equal(found.inputs[0], data[1][3:4])


def test_by_layer_against_its_values(sim, batches):
    found = worst_samples(sim, batches, "0", 3).table
    assert (
        found["sample"].tolist() == qnb.measures.profile_layers(sim, batches, ["0"])["0"].samples["sample"][:3].tolist()
    )
    assert found["sample"].tolist() != worst_samples(sim, batches, count=3).table["sample"].tolist()


def test_what_is_found_can_be_given_back(sim, batches):
    found = worst_samples(sim, batches, count=4)
    again = worst_samples(sim, found.inputs, count=4)
    assert again.table["sample"].tolist() == [0, 1, 2, 3]
    assert np.allclose(again.table.sqnr_db, found.table.sqnr_db, atol=1e-4)


def test_no_more_than_count_are_kept(sim, batches, monkeypatch):
    from qnb.measures.layers import worst_samples as module

    sizes, take = [], module._Search._take

    def counted(self, *args):
        take(self, *args)
        sizes.append(sum(x.numel() for _, _, x in self.kept))

    monkeypatch.setattr(module._Search, "_take", counted)
    worst_samples(sim, batches * 5, count=2)
    assert len(sizes) == 15 and set(sizes) == {12}


class Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Embedding(11, 6), nn.Linear(6, 5)

    def forward(self, ids, mask):
        return {"logits": self.head(self.embed(ids) * mask[..., None])}


def test_dict_inputs_and_several_predictions_for_each_sample():
    torch.manual_seed(1)
    generator = torch.Generator().manual_seed(3)
    batches = [{"ids": torch.randint(0, 11, (4, 7), generator=generator), "mask": torch.ones(4, 7)} for _ in range(2)]
    sim = qnb.QuantSim(Named().eval(), batches[0], "w2a4", target="generic").calibrate(batches)
    found = worst_samples(sim, batches, "flipped", 3)
    assert found.inputs[0]["ids"].shape == (1, 7) and found.inputs[0]["mask"].shape == (1, 7)
    row = found.table.iloc[0]
    with torch.no_grad():
        sides = [m(**found.inputs[0])["logits"][0] for m in (sim.reference_model, sim)]
    assert [int(s[row.position].argmax()) for s in sides] == [row.fp32_prediction, row.quantsim_prediction]
    assert row.fp32_prediction != row.quantsim_prediction
    flips = (sides[0].argmax(1) != sides[1].argmax(1)).nonzero()[:, 0]
    margins = sides[0].topk(2).values
    assert row.position == max(flips.tolist(), key=lambda p: float(margins[p, 0] - margins[p, 1]))


def test_outputs_that_are_no_scores_have_no_predictions(batches):
    sim = qnb.QuantSim(nn.Linear(6, 1).eval(), batches[0], "w4a4").calibrate(batches)
    found = worst_samples(sim, batches, count=2)
    assert found.table.fp32_prediction.isna().all() and found.flipped is None
    with pytest.raises(InputError, match="no scores in its last dimension"):
        worst_samples(sim, batches, "flipped")


@pytest.mark.parametrize(
    ("by", "count", "match"),
    [("conv", 3, "no layer matches"), ("*", 3, "which 2 layers match"), (3, 3, "by=3"), ("output", 0, "count")],
)
def test_what_is_wrong_is_said_before_any_work(sim, by, count, match):
    with pytest.raises(InputError, match=match):
        worst_samples(sim, [object()], by, count)


def test_a_sim_without_ranges_is_refused(batches):
    with pytest.raises(CalibrationError, match="not calibrated"):
        worst_samples(qnb.QuantSim(nn.Linear(6, 2).eval(), batches[0]), batches)


def test_progress_and_cancelling(sim, batches):
    seen = []
    worst_samples(sim, batches, progress=lambda done, total, _: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        worst_samples(sim, batches, progress=stop)
