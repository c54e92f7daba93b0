"""A bias that does not fit 32 bits at the layer's scales: the weights' steps are widened until it does."""

from __future__ import annotations

from collections.abc import Iterator

from qnb.numerics import affine_parameters
from qnb.sim import QuantSim
from qnb.sim.placement.plan import BiasSite
from qnb.text import percent
from qnb.workflow.diagnosis.case import Case
from qnb.workflow.diagnosis.cause import Suspicion, cause

WIDENED = 1.5
"""Weight steps this many times as wide as the weights ask for."""
LEAST_SHARE = 0.05


@cause("bias_overflow", "a bias beyond 32 bits")
def find(case: Case) -> Iterator[Suspicion]:
    sim = case.sim
    for bias_key, site in sim.plan.biases.items():
        quantizer, bias = sim.weight(site.weight_key), sim.bias(bias_key)
        share = case.share([site.layer], "weight", "bias")
        if not bias.active or quantizer.scale is None or share < LEAST_SHARE:
            continue
        low, high, grid = quantizer.minimum, quantizer.maximum, quantizer.grid
        if low is None or high is None or grid is None:
            continue
        widened = float((quantizer.scale / affine_parameters(low, high, grid)[0]).max())
        if widened < WIDENED:
            continue

        def apart(sim: QuantSim, bias_key: str = bias_key, site: BiasSite = site, ends: tuple = (low, high)) -> None:
            sim.bias(bias_key).enabled = False
            sim.weight(site.weight_key).set_range(*ends)

        layer = site.layer
        said = f"in the model, add the bias of {layer!r} as an op of its own"
        ways = (
            case.remedies.method("equalize", "equalize: it also moves large biases to the next layer", share),
            case.remedies.change(said, case.look(layer), apart, share),
        )
        most = float(sim.bias_tensor(bias_key).detach().abs().max())
        yield Suspicion(
            f"The bias of {layer!r} does not fit 32 bits",
            (layer,),
            f"it reaches {most:.3g}, while one step of the sum is the input's step times the weight's. So that it "
            f"fits, weight steps are made up to {widened:.3g} times as wide: {percent(share)} of the output's error",
            ways,
        )
