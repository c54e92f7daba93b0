"""Values beyond what 16-bit floating point holds: they overflow to infinity, or become zero."""

from __future__ import annotations

from collections.abc import Iterator

from qnb.measures.layers.float16 import LARGEST
from qnb.text import listed, percent
from qnb.workflow.diagnosis.case import Case
from qnb.workflow.diagnosis.cause import Suspicion, cause

UNDERFLOWING = 0.01
MOST = 8


@cause("float16_overflow", "values that overflow in FP16")
def overflow(case: Case) -> Iterator[Suspicion]:
    layers = case.run.overflowing
    if not layers:
        return
    first = case.run.float16.set_index("layer").loc[layers[0]]
    yield _suspicion(
        case,
        f"Values overflow in FP16 from {layers[0]!r} on",
        layers,
        f"{listed(layers)}: {percent(first.overflow_fraction)} of the values of {layers[0]!r} are beyond 65,504, the "
        f"largest FP16 number; the largest is {first.fp32_max_abs:.3g}",
        "scale the layer down in the model, or use an integer precision, whose ranges have no such end",
    )


@cause("float16_underflow", "values that become zero in FP16")
def underflow(case: Case) -> Iterator[Suspicion]:
    if case.run.float16 is None:
        return
    table = case.run.float16
    layers = list(table.layer[table.underflow_fraction > UNDERFLOWING])
    if not layers or case.share(layers) <= 0:
        return
    first = table.set_index("layer").loc[layers[0]]
    yield _suspicion(
        case,
        f"Values become zero in FP16 from {layers[0]!r} on",
        layers,
        f"{percent(first.underflow_fraction)} of the values of {layers[0]!r} are 2^-25 or less, which FP16 rounds to "
        f"zero; its largest value is {first.fp32_max_abs:.3g}",
        "scale the layer up in the model, or use an integer precision, whose ranges follow the values",
        certain=False,
    )


@cause("float16_weights", "weights that overflow in FP16")
def weights(case: Case) -> Iterator[Suspicion]:
    for layer, keys in case.sim.plan.weights_of.items():
        largest = max(float(case.sim.weight_tensor(key).detach().abs().max()) for key in keys)
        if case.run.float16 is not None and largest > LARGEST:
            yield _suspicion(
                case,
                f"Weights overflow in FP16 in {layer!r}",
                [layer],
                f"the largest is {largest:.3g}; FP16 ends at 65,504",
                "move a factor out of the weights in the model, or use an integer precision",
            )


def _suspicion(case: Case, says: str, layers: list[str], evidence: str, to_do: str, certain: bool = True) -> Suspicion:
    """FP32 for these layers is what can be tried."""
    way = case.remedies.precision(layers, "fp32", max(0.0, case.share(layers)), "FP32")
    return Suspicion(says, tuple(layers[:MOST]), evidence, (way,), to_do, case.look(layers[0]), certain)
