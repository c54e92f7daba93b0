"""Ops in the parts that a target runs them in compute the same."""

import pytest
import torch
from torch import nn

import qnb
from qnb.graph import capture
from qnb.graph.target_form import PARTS, written_out
from qnb.sim.graph_model import ReferenceModel

NAMES = tuple(PARTS)


def drawn(norm):
    """With statistics and parameters that are not those of a new one."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in [*norm.named_parameters(), *norm.named_buffers()]:
        if tensor.is_floating_point():
            tensor.data.copy_(torch.rand(tensor.shape, generator=generator) + 0.5 * (name != "bias"))
    return norm


CASES = {
    "batch norm": (drawn(nn.BatchNorm2d(6)), (4, 6, 5, 7)),
    "batch norm of a sequence": (drawn(nn.BatchNorm1d(6)), (4, 6, 9)),
    "batch norm of rows": (drawn(nn.BatchNorm1d(6)), (4, 6)),
    "batch norm without parameters": (drawn(nn.BatchNorm2d(6, affine=False)), (4, 6, 5, 7)),
    "group norm": (drawn(nn.GroupNorm(3, 6)), (4, 6, 5, 7)),
    "group norm of a sequence": (drawn(nn.GroupNorm(2, 6, eps=0.1)), (4, 6, 9)),
    "group norm of rows": (drawn(nn.GroupNorm(2, 6)), (4, 6)),
    "group norm of volumes": (drawn(nn.GroupNorm(1, 6)), (4, 6, 3, 4, 5)),
    "group norm without parameters": (nn.GroupNorm(2, 6, affine=False), (4, 6, 5, 7)),
    "mish": (nn.Mish(), (4, 30)),
}


@pytest.mark.parametrize("name", CASES)
def test_the_parts_compute_the_same(name):
    model, shape = CASES[name]
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1)) * 3
    captured = capture(model.eval(), x)
    form = written_out(captured, NAMES)
    assert form is not captured and len(form.module.graph.nodes) != 0
    given = ReferenceModel(form, form.module)(x)
    assert torch.allclose(given, model(x), rtol=1e-5, atol=2e-6)
    other = x[:1] if "rows" in name else torch.cat([x, x * 2])  # the batch is still free
    assert torch.allclose(ReferenceModel(form, form.module)(other), model(other), rtol=1e-5, atol=4e-6)


def test_layers_keep_their_names_and_parts_are_called_after_them():
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.GroupNorm(2, 6), nn.Mish()).eval()
    captured = capture(model, torch.randn(2, 3, 8, 8))
    form = written_out(captured, NAMES)
    layers = [n.meta["layer"] for n in form.module.graph.nodes if n.op == "call_function"]
    assert len(layers) == len(set(layers)) and {"0", "1", "2", "3"} <= set(layers)
    assert {layer.split(".")[0] for layer in layers} == {"0", "1", "2", "3"}
    last = {n.meta["layer"]: n for n in form.module.graph.nodes if n.op == "call_function"}
    assert last["2"].meta["op"] == "add" and last["3"].meta["op"] == "mul"


def test_nothing_to_write_out_gives_the_same_model():
    captured = capture(nn.Sequential(nn.Linear(3, 4), nn.ReLU()).eval(), torch.randn(2, 3))
    assert written_out(captured, NAMES) is captured
    normed = capture(nn.Sequential(nn.ReLU(), nn.GroupNorm(2, 4)).eval(), torch.randn(2, 4, 5))
    form = written_out(normed, NAMES)
    assert written_out(form, NAMES) is form
    assert written_out(normed, ()) is normed


def test_what_has_no_other_form_stays():
    """A batch norm of volumes: HTP has no depthwise convolution of them."""
    captured = capture(drawn(nn.BatchNorm3d(4)).eval(), torch.randn(2, 4, 3, 3, 3))
    assert written_out(captured, NAMES) is captured


def test_a_sim_takes_its_targets_form_and_leaves_the_users_model_alone():
    model = nn.Sequential(nn.ReLU(), drawn(nn.BatchNorm2d(4)), nn.Conv2d(4, 4, 1)).eval()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    x = torch.randn(2, 4, 6, 6)
    captured = capture(model, x)
    on_htp = qnb.QuantSim(captured, target="htp-v75")
    assert list(on_htp.layers().op) == ["relu", "conv2d", "conv2d"]
    assert list(qnb.QuantSim(captured, target="generic").layers().op) == ["relu", "batch_norm", "conv2d"]
    assert qnb.QuantSim(on_htp.captured, target="htp-v75").captured is on_htp.captured
    assert all(torch.equal(t, model.state_dict()[name]) for name, t in before.items())
    assert torch.allclose(on_htp.reference_model(x), model(x), atol=1e-5)
