"""Whether a sim is bit for bit what it was, and small sims to try methods on."""

import torch

import qnb
from qnb.sim.quantizer import Quantizer


def state(sim) -> dict:
    """Everything that a method may change, cloned."""
    found = {name: t.detach().clone() for name, t in sim.tensors().items()}
    found |= {f"reference/{n}": t.detach().clone() for n, t in sim.reference.state_dict().items()}
    for name, module in sim.graph_module.named_modules():
        if isinstance(module, Quantizer):
            found[name] = (module.grid, module.axis, module.enabled, module.frozen)
            for part in ("scale", "zero_point", "minimum", "maximum"):
                value = getattr(module, part)
                found[f"{name}.{part}"] = None if value is None else value.detach().clone()
    flags = {n: (p.requires_grad, p.grad is None) for n, p in sim.graph_module.named_parameters()}
    return found | {"applied_methods": sim.applied_methods, "training": sim.training, "flags": flags}


def same(a: dict, b: dict) -> bool:
    def equal(x, y):
        if isinstance(x, torch.Tensor) and isinstance(y, torch.Tensor):
            return x.shape == y.shape and x.dtype == y.dtype and bool(torch.equal(x, y))
        return type(x) is type(y) and x == y

    return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)


class CancelAfter:
    """A progress callback that cancels at its ``count``-th call; ``calls`` says how many there were."""

    def __init__(self, count: int | None = None):
        self.count, self.calls = count, 0

    def __call__(self, done, total, message) -> None:
        self.calls += 1
        if self.count is not None and self.calls >= self.count:
            raise qnb.errors.Cancelled("test")


def digits_sim(precision="w4a8", batches=2, **arguments):
    """A calibrated sim of the digits CNN and its batches."""
    demo = qnb.demo.digits()
    data = demo.calibration[:batches]
    return qnb.QuantSim(demo.model, data[0], precision, **arguments).calibrate(data), data
