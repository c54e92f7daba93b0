"""Capture: the same numbers as the user's model, readable names, and nothing of the user's changed."""

import copy
import operator
import types

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from qnb.errors import CaptureError, InputError
from qnb.graph import capture, ops
from qnb.graph.captured import as_call
from qnb.graph.structure import flatten
from qnb.sim.graph_model import ReferenceModel
from tests.models import Attention, ResNet20, UNet, images, transformers_zoo, warmed_up, zoo

ZOO = list(zoo())


def outputs(model, batch):
    args, kwargs = as_call(batch)
    with torch.no_grad():
        return model(*args, **kwargs)


def same(model, captured, batch, atol=1e-5):
    ours, own = outputs(ReferenceModel(captured, captured.module), batch), outputs(model, batch)
    assert type(ours) is type(own)
    for a, b in zip(flatten(ours)[0], flatten(own)[0], strict=True):
        torch.testing.assert_close(a, b, atol=atol, rtol=1e-4)


def layers(captured):
    return [n.meta["layer"] for n in captured.module.graph.nodes if n.op == "call_function"]


@pytest.mark.parametrize("name", ZOO)
def test_captured_graph_equals_the_model(name):
    model, batch = zoo()[name]
    captured = capture(model, batch)
    same(model, captured, batch)
    for node in captured.module.graph.nodes:
        assert node.op in ("placeholder", "get_attr", "call_function", "output")
        if node.op == "call_function":
            assert {"layer", "path", "module", "op", "source", "val"} <= set(node.meta)
            assert not getattr(getattr(node.target, "_schema", None), "is_mutable", False), f"{node} writes in place"
    assert len(set(layers(captured))) == len(layers(captured)), "two layers have one name"


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama", "vit", "whisper"])
def test_architectures_nobody_here_wrote(name):
    model, batch = transformers_zoo()[name]
    same(model, capture(model, batch), batch)


def test_names_carry_the_users_module_paths():
    names = layers(capture(warmed_up(ResNet20(), images()), images()))
    assert {"conv1", "relu", "layer1.0.conv1", "layer1.0.add", "layer2.0.pad", "fc"} <= set(names)
    assert not any("bn" in n for n in names), "a batch norm was not folded"


def test_reused_modules_and_tied_weights_are_kept_apart():
    captured = capture(*zoo()["reused"])
    assert [n for n in layers(captured) if "fc" in n or "tied" in n] == ["fc", "fc_1", "tied"]


def test_source_is_the_users_line():
    captured = capture(*zoo()["functional"])
    sources = {n.meta["layer"]: n.meta["source"] for n in captured.module.graph.nodes if n.op == "call_function"}
    assert sources["conv2d"].startswith("models.py:") and sources["matmul"].startswith("models.py:")


class TestNothingOfTheUsersChanges:
    def test_weights_buffers_flags_hooks(self):
        model = warmed_up(UNet(), images())
        calls = []
        model.register_forward_hook(lambda *a: calls.append(1))
        for p in list(model.parameters())[:3]:
            p.requires_grad_(False)
        before = copy.deepcopy(model.state_dict())
        grads = [p.requires_grad for p in model.parameters()]
        captured = capture(model, images())
        with torch.no_grad():
            for p in captured.module.parameters():
                p.add_(1.0)
        assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
        assert [p.requires_grad for p in model.parameters()] == grads and len(model._forward_hooks) == 1
        assert not any(m.training for m in model.modules())

    def test_half_precision_models_are_captured_in_fp32(self):
        model = nn.Linear(4, 3).eval().half()
        captured = capture(model, torch.randn(2, 4).half())
        assert model.weight.dtype == torch.float16 and captured.module.get_parameter("weight").dtype == torch.float32
        assert any("half" in note for note in captured.notes)
        assert captured.flatten(torch.randn(2, 4).half())[0].dtype == torch.float32

    def test_example_inputs_are_not_written_to(self):
        class Writes(nn.Module):
            def forward(self, x):
                return x.mul(2.0).relu_().add_(1.0) + x

        x = torch.randn(3, 4)
        kept = x.clone()
        same(Writes(), capture(Writes().eval(), x), x)
        assert torch.equal(x, kept)


class TestInPlaceOps:
    """Each of these is silently wrong if an in-place op is rewritten without a look at who shares the storage."""

    @staticmethod
    def check(forward):
        class Net(nn.Module):
            def forward(self, x):
                return forward(x * 1.0)

        x = torch.randn(4, 6)
        same(Net().eval(), capture(Net().eval(), x), x)

    def test_slice_assignment(self):
        def forward(x):
            x[:, 1] = 0.0
            return x + 1

        self.check(forward)

    def test_a_view_that_is_written_to(self):
        def forward(x):
            view = x.view(2, -1) if False else x.reshape(-1, 3)
            view.relu_()
            return x * 2

        self.check(forward)

    def test_a_view_made_before_the_write(self):
        def forward(x):
            view = x[:, :3]
            x.add_(10.0)
            return view.sum(1)

        self.check(forward)

    def test_result_of_the_write_and_the_written(self):
        def forward(x):
            y = x.mul_(3.0)
            return x + y

        self.check(forward)

    def test_a_chain_with_a_late_reader(self):
        def forward(x):
            a = torch.relu(x)
            b = a.clone()
            a += x
            a.clamp_(max=2.0)
            return a * b

        self.check(forward)

    def test_buffers_that_forward_updates(self):
        class Counter(nn.Module):
            def __init__(self):
                super().__init__()
                self.register_buffer("count", torch.zeros(()))

            def forward(self, x):
                self.count += 1
                return x * self.count

        model = Counter().eval()
        captured = capture(model, torch.randn(3, 2))
        assert model.count == 0 and any("count" in note for note in captured.notes)
        x = torch.randn(3, 2)
        torch.testing.assert_close(captured.module(x)[0], x)


class TestAttention:
    @pytest.mark.parametrize("kind", ["none", "bool", "float", "causal", "scale", "gqa", "empty rows"])
    def test_written_out_equals_torch(self, kind):
        class Net(nn.Module):
            def forward(self, q, k, v, mask=None):
                options = {"causal": {"is_causal": True}, "scale": {"scale": 0.3}, "gqa": {"enable_gqa": True}}
                return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, **options.get(kind, {}))

        q, k, v = (torch.randn(2, 4 if i == 0 or kind != "gqa" else 2, 5, 8) for i in range(3))
        masks = {
            "bool": torch.rand(2, 1, 5, 5) > 0.3,
            "float": torch.randn(2, 1, 5, 5),
            "empty rows": torch.ones(2, 1, 5, 5, dtype=torch.bool).tril(-1),
        }
        batch = (q, k, v, masks[kind]) if kind in masks else (q, k, v)
        captured = capture(Net().eval(), batch)
        same(Net(), captured, batch)
        used = [ops.name(n) for n in captured.module.graph.nodes if n.op == "call_function"]
        assert used.count("matmul") == 2 and "scaled_dot_product_attention" not in used

    def test_silu_is_sigmoid_and_mul(self):
        captured = capture(nn.SiLU().eval(), torch.randn(3, 4))
        assert [ops.name(n) for n in captured.module.graph.nodes if n.op == "call_function"] == ["sigmoid", "mul"]


class TestDynamicShapes:
    def test_batch_and_size_may_vary(self):
        model = warmed_up(UNet(), images())
        captured = capture(model, images())
        for batch in (images(1), images(7, 24)):
            same(model, captured, batch)

    def test_one_sample_does_not_fix_the_batch(self):
        model = warmed_up(ResNet20(), images())
        captured = capture(model, images(1))
        assert isinstance(captured.inputs[0].shape[0], str)
        same(model, captured, images(5))

    def test_static_when_nothing_else_goes(self):
        class Fixed(nn.Module):
            def forward(self, x):
                return x.reshape(2, 12) if x.shape[0] == 4 and x.shape[1] == 6 else x

        captured = capture(Fixed().eval(), torch.randn(4, 6))
        assert captured.inputs[0].shape == (4, 6) and "dimension 0 at 4" in captured.fixed[0]

    def test_users_own_choice(self):
        captured = capture(nn.Linear(4, 2).eval(), torch.randn(3, 5, 4), ({0: torch.export.Dim("b", min=1, max=8)},))
        assert isinstance(captured.inputs[0].shape[0], str) and captured.inputs[0].shape[1:] == (5, 4)
        with pytest.raises(InputError, match="allows 1 to 8"):
            captured.flatten(torch.randn(9, 5, 4))

    def test_a_length_that_the_capture_does_not_allow(self):
        captured = capture(*zoo()["lstm"])
        with pytest.raises(InputError, match="dimension 1 of input 'ids' is 9; the capture fixed it at 7"):
            captured.flatten(torch.zeros(4, 9, dtype=torch.long))

    def test_sizes_that_belong_together(self):
        captured = capture(*zoo()["attention"])
        with pytest.raises(InputError, match="is 5 but dimension"):
            captured.flatten({"x": torch.randn(4, 6, 24), "mask": torch.ones(4, 1, 5, 5, dtype=torch.bool)})


class TestInputs:
    @pytest.fixture
    def captured(self):
        return capture(nn.Linear(4, 2).eval(), torch.randn(3, 4))

    def test_labels(self, captured):
        with pytest.raises(InputError, match=r"qnb\.inputs\(loader\)"):
            captured.flatten((torch.randn(3, 4), torch.tensor([0, 1, 1])))

    def test_dtype(self, captured):
        with pytest.raises(InputError, match=r"x\.to\(torch\.float32\)"):
            captured.flatten(torch.zeros(3, 4, dtype=torch.int64))

    def test_rank_and_size(self, captured):
        with pytest.raises(InputError, match="shape"):
            captured.flatten(torch.randn(4))
        with pytest.raises(InputError, match="dimension 1"):
            captured.flatten(torch.randn(3, 5))

    def test_not_a_tensor(self, captured):
        with pytest.raises(InputError, match="input"):
            captured.flatten([[1.0, 2.0]])

    def test_keywords_and_positions_are_the_same(self):
        model, batch = Attention().eval(), {"x": torch.randn(2, 6, 24), "mask": torch.ones(2, 1, 6, 6).bool()}
        captured = capture(model, batch)
        sim = ReferenceModel(captured, captured.module)
        with torch.no_grad():
            wanted = sim(**batch).logits
            assert torch.equal(sim(batch["x"], batch["mask"]).logits, wanted)
            assert torch.equal(sim(batch["x"], mask=batch["mask"]).logits, wanted)
        with pytest.raises(InputError, match="no 'mask'"):
            sim(batch["x"])

    def test_another_device(self):
        with pytest.raises(InputError, match="device meta"):
            capture(nn.Linear(4, 2).eval(), torch.randn(3, 4, device="meta"))


class TestErrors:
    def test_training_mode(self):
        model = ResNet20().eval()
        model.bn1.train()
        with pytest.raises(InputError, match=r"'bn1'.*model\.eval\(\)"):
            capture(model, images())

    def test_branch_on_values(self, capsys):
        class Branches(nn.Module):
            def forward(self, x):
                return x if x.max() > 0 else -x

        with pytest.raises(CaptureError, match=r"test_capture\.py:\d+ \(return x if.*torch\.where"):
            capture(Branches().eval(), torch.randn(3, 4))
        assert capsys.readouterr() == ("", ""), "torch.export's own prints reach the user"

    def test_numpy_inside(self):
        class Numpy(nn.Module):
            def forward(self, x):
                return x * torch.from_numpy(x.detach().numpy() ** 2)

        with pytest.raises(CaptureError, match=r"test_capture\.py:\d+.*keep the computation in torch"):
            capture(Numpy().eval(), torch.randn(3, 4))

    def test_the_models_own_failure_is_an_input_error(self):
        with pytest.raises(InputError, match="the model itself fails"):
            capture(nn.Linear(4, 2).eval(), torch.randn(3, 5))

    def test_outputs_that_are_no_tensors(self):
        class Odd(nn.Module):
            def forward(self, x):
                return types.SimpleNamespace(y=x)

        with pytest.raises(CaptureError, match="SimpleNamespace"):
            capture(Odd().eval(), torch.randn(3, 4))


def test_op_names():
    graph = torch.fx.Graph()
    node = graph.call_function(operator.getitem, (graph.placeholder("x"), 0))
    assert ops.name(node) == "getitem" and ops.of(node).kind == "pass"


class TestShapesThatGrow:
    """Padding to windows and halving at every stage: sizes become formulas that take minutes to compare."""

    class Windows(nn.Module):
        def forward(self, x):
            for _ in range(12):
                size = x.shape[-1]
                x = torch.cat([x, x[..., : 7 - size % 7]], -1)[..., : (size + 3) // 2 + 2]
            return x

    def test_only_the_batch_varies_then(self):
        captured = capture(self.Windows().eval(), torch.randn(2, 50))
        assert captured.inputs[0].shape[1] == 50 and isinstance(captured.inputs[0].shape[0], str)
        assert captured.fixed == ["x: dimension 1 at 50"]
        same(self.Windows(), captured, torch.randn(5, 50))

    def test_shapes_that_the_user_asks_for_are_tried(self):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("qnb.graph.traced_model._ShapesStaySimple.LONGEST", -1)
            captured = capture(nn.Linear(3, 3).eval(), torch.randn(4, 3), ({0: torch.export.Dim.AUTO},))
        assert isinstance(captured.inputs[0].shape[0], str)


def test_fixed_shapes_keep_a_batch_of_one():
    captured = capture(nn.Linear(3, 2).eval(), torch.randn(1, 3), dynamic_shapes=[None])
    assert [i.shape for i in captured.inputs] == [(1, 3)]
    free = capture(nn.Linear(3, 2).eval(), torch.randn(1, 3), dynamic_shapes=[{0: torch.export.Dim.AUTO}])
    assert isinstance(free.inputs[0].shape[0], str)
