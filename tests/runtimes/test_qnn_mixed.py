"""Layers of 8 and of 16 bits side by side on Qualcomm's HTP, emulated."""

import pytest
import torch
from torch import nn

import qnb
from qnb.export import export_onnx
from qnb.runtimes import soc


class Of(nn.Module):
    """A function of one tensor, with the layers it uses."""

    def __init__(self, function, **layers):
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x):
        return self.function(self, x).flatten(1)


OPS = {
    "conv": (Of(lambda m, x: m.op(x), op=nn.Conv2d(4, 6, 3, padding=1)), (4, 8, 8)),
    "conv_relu": (Of(lambda m, x: m.op(x).relu(), op=nn.Conv2d(4, 6, 3)), (4, 8, 8)),
    "conv1d": (Of(lambda m, x: m.op(x), op=nn.Conv1d(4, 6, 3)), (4, 16)),
    "depthwise": (Of(lambda m, x: m.op(x), op=nn.Conv2d(4, 4, 3, groups=4)), (4, 8, 8)),
    "grouped": (Of(lambda m, x: m.op(x), op=nn.Conv2d(4, 8, 3, groups=2)), (4, 8, 8)),
    "transposed": (Of(lambda m, x: m.op(x), op=nn.ConvTranspose2d(4, 6, 3)), (4, 8, 8)),
    "linear": (Of(lambda m, x: m.op(x), op=nn.Linear(64, 6)), (64,)),
    "linear of rows": (Of(lambda m, x: m.op(x), op=nn.Linear(64, 6)), (5, 64)),
    "layer_norm": (Of(lambda m, x: m.op(x), op=nn.LayerNorm(16)), (5, 16)),
    "matmul": (Of(lambda m, x: x @ x.transpose(1, 2)), (5, 16)),
    "add": (Of(lambda m, x: x + 0.5 * x.flip(2)), (5, 16)),
    "mul": (Of(lambda m, x: x * x.flip(2)), (5, 16)),
    "relu": (Of(lambda m, x: x.relu()), (5, 16)),
    "pool": (Of(lambda m, x: torch.nn.functional.adaptive_avg_pool2d(x, 1)), (4, 8, 8)),
}


def on_htp(htp, sim, path, batches, name="sm8650", **arguments):
    """(fidelity by layer, runtime); nothing may run elsewhere."""
    runtime = htp(export_onnx(sim, path, batch=1, **arguments), name)
    table = qnb.fidelity(sim, runtime, batches)
    assert set(runtime.placement()["provider"]) == {"HTP"}
    return table.set_index("layer"), runtime


@pytest.mark.parametrize("widths", [(8, 16), (16, 8)], ids=["8 to 16", "16 to 8"])
@pytest.mark.parametrize("op", OPS)
def test_one_op(htp, op, widths, tmp_path):
    """Codes go in, so that all that differs is the op's own rounding."""
    model, shape = OPS[op]
    x, (read, written) = torch.randn(8, *shape), widths
    sim = qnb.QuantSim(model.eval(), x, f"w8a{read}")
    sim.set_precision([g.layer for g in sim.groups], f"w8a{written}").calibrate([x])
    assert sim.activation(next(iter(sim.plan.activations))).grid.bits == read
    table, _ = on_htp(htp, sim, tmp_path / "m.onnx", [x], integer_io=True)
    row = table.iloc[0]
    assert row.sqnr_db >= (35 if written == 8 else 55)
    assert row.within_one_fraction == 1 or written == 16


@pytest.mark.parametrize("name", ["sm8350", "sm8550", "sm8850"])
def test_every_generation(htp, name, tmp_path):
    x = torch.randn(8, 3, 8, 8)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 5))
    sim = qnb.QuantSim(model.eval(), x, "w8a8", target=soc.get(name).target)
    table, _ = on_htp(htp, sim.set_precision("2", "w8a16").calibrate([x]), tmp_path / "m.onnx", [x], name)
    assert table.sqnr_db.min() >= 35


@pytest.mark.parametrize("name", ["digits", pytest.param("transformer", marks=pytest.mark.slow)])
@pytest.mark.parametrize(("precision", "other"), [("w8a8", "w8a16"), ("w8a16", "w8a8")])
def test_a_mix_is_as_close_as_its_8_bit_part(htp, name, precision, other, tmp_path):
    demo = getattr(qnb.demo, name)()
    batches = demo.calibration[:2]
    sims = [qnb.QuantSim(demo.model, batches[0], p) for p in ("w8a8", precision)]
    sims[1].set_precision(list(dict.fromkeys(g.layer for g in sims[1].groups))[::2], other)
    first = batches[0]
    few = [{k: v[:8] for k, v in first.items()} if isinstance(first, dict) else first[:8]]
    uniform, mixed = (on_htp(htp, sim.calibrate(batches), tmp_path / "m.onnx", few)[0] for sim in sims)
    assert mixed.sqnr_db.min() >= uniform.sqnr_db.min() - 1
    output = mixed.index[mixed.op == "output"][0]
    assert mixed.sqnr_db[output] >= uniform.sqnr_db[output] - 1 and mixed.top1_agreement[output] == 1


def test_a_16_bit_layer_norm_before_8_bit_rows(htp, tmp_path):
    """16 positions: what HTP reads in a wrong order where the rows are narrowed as rows."""
    model = nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 96), nn.LayerNorm(96), nn.Linear(96, 8)).eval()
    x = torch.randn(4, 16, 32)
    sim = qnb.QuantSim(model, x, "w8a16").set_precision(["1", "3"], "w8a8").calibrate([x])
    table, _ = on_htp(htp, sim, tmp_path / "m.onnx", [x])
    assert table.sqnr_db.min() >= 30


def test_compiling_a_mix(htp, tmp_path):
    x = torch.randn(4, 3, 8, 8)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.Flatten()).eval()
    sim = qnb.QuantSim(model, x, "w8a8").set_precision("0", "w8a16").calibrate([x])
    _, runtime = on_htp(htp, sim, tmp_path / "m.onnx", [x])
    assert torch.equal(htp(runtime.compile(tmp_path / "c.onnx")).run(x), runtime.run(x))
