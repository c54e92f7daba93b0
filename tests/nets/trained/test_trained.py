"""The trained nets reach their metric, are alike in form, and new each time."""

import pytest
import torch

import qnb
from tests.nets.trained import NAMES, OF_THE_DEMO, WEIGHTS, trained, unet
from tests.nets.trained.__main__ import RECIPES

LEAST = {"digits": 0.97, "transformer": 0.96, "detector": 0.95, "unet": 0.8, "resnet": 0.97}
MOST = {"language": 1.5}


@pytest.fixture(params=NAMES, scope="module")
def net(request):
    return trained(request.param)


def called(model, batch):
    with torch.no_grad():
        found = model(**batch) if isinstance(batch, dict) else model(batch)
    return getattr(found, "logits", found)


def test_it_reaches_its_metric(net):
    score = net.evaluate(net.model)
    if net.name in MOST:
        assert score.value <= MOST[net.name] and not score.higher_is_better
    else:
        assert score.value >= LEAST[net.name] and score.higher_is_better
    assert len(score.per_sample) == score.n >= 200


def test_inputs_are_batches_that_it_takes(net):
    assert len(net.calibration) == 8
    sizes = [len(called(net.model, batch)) for batch in net.calibration]
    held_out = sum(len(called(net.model, batch)) for batch in net.held_out_inputs)
    assert sizes == [32] * 8 and held_out == net.evaluate(net.model).n


def seen(model, call) -> torch.Tensor:
    """What a model is given in a call."""
    found = []
    hook = model.register_forward_pre_hook(
        lambda _, args, kwargs: found.append([*args, *kwargs.values()][0].clone()), with_kwargs=True
    )
    call()
    hook.remove()
    return torch.cat(found)


def test_evaluate_takes_the_held_out_inputs_in_their_order(net):
    wanted = seen(net.model, lambda: [called(net.model, batch) for batch in net.held_out_inputs])
    assert torch.equal(seen(net.model, lambda: net.evaluate(net.model)), wanted)


def test_changing_one_leaves_the_next_alone(net):
    before = [p.clone() for p in net.model.parameters()]
    other = trained(net.name)
    with torch.no_grad():
        for p in other.model.parameters():
            p.zero_()
    assert all(torch.equal(p, q) for p, q in zip(net.model.parameters(), before, strict=True))


def test_those_of_the_tests_are_small_and_promise_what_the_script_demands():
    assert set(RECIPES) == set(NAMES) - set(OF_THE_DEMO) == {p.stem for p in WEIGHTS.iterdir()}
    for name, recipe in RECIPES.items():
        assert (WEIGHTS / f"{name}.safetensors").stat().st_size < 300_000 and recipe["least"] == LEAST[name]


def test_mean_iou_is_of_the_classes_that_a_picture_has():
    masks = torch.zeros(1, 2, 4, dtype=torch.int64)
    masks[0, :, 2:] = 2
    found = torch.zeros_like(masks)
    found[0, :, 3:] = 2
    images = torch.zeros(1, 3, 2, 4)

    def model(_):
        return torch.nn.functional.one_hot(found, unet.CLASSES).permute(0, 3, 1, 2).float()

    assert unet.mean_iou(images, masks)(model).value == pytest.approx((4 / 6 + 2 / 4) / 2)


@pytest.mark.parametrize("name", ["unet", "resnet"])
def test_it_is_quantized(name):
    net = trained(name)
    run = qnb.Workflow(net.model, net.calibration[:2], net.evaluate, target="htp-v75").run("w8a8")
    assert run.drop.value < 0.05 and run.comparison.sqnr_db.min() > 5
