"""A normalization by a tiny variance: folded into the layer before it, it makes weights that explode."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import nn

from qnb.graph import ops
from qnb.measures.layers.outliers import outlier_ratio
from qnb.text import percent
from qnb.workflow.diagnosis.case import Case
from qnb.workflow.diagnosis.cause import Suspicion, cause

EXPLODING = 8.0
"""A channel's folded weights this many times the median channel's."""
TINY = 0.03
"""A variance this small beside the median channel's, or beside the square of the channel's mean."""
LEAST_SHARE = 0.05


@cause("tiny_variance", "a batch norm with a tiny variance")
def find(case: Case) -> Iterator[Suspicion]:
    norms = {name: m for name, m in case.flow.model.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)}
    if not norms:
        return
    for layer, (key, *_) in case.sim.plan.weights_of.items():
        site = case.sim.plan.weights[key]
        if ops.of(site.user).family not in ("convolution", "transposed convolution", "linear") or site.axis is None:
            continue
        reach = case.sim.weight_tensor(key).detach().movedim(site.axis, 0).flatten(1).abs().amax(1)
        ratio, channel = outlier_ratio(reach), int(reach.argmax())
        name = _norm_after(layer, norms)
        if not ratio >= EXPLODING or name is None:
            continue
        variance = norms[name].running_var
        if variance is None or len(variance) <= channel or variance[channel] > TINY * float(variance.median()):
            continue
        source = case.maker(site.user.args[ops.of(site.user).data])  # pyright: ignore[reportArgumentType]
        read = [source] if source is not None else []
        share = case.share([layer]) + case.share(read, "activation")
        if share < LEAST_SHARE:
            continue
        ways = (case.remedies.wider([*read, layer], share), case.remedies.wider([layer], share, weights=True))
        yield Suspicion(
            f"A batch norm with a tiny variance makes weights explode in {layer!r}",
            tuple(dict.fromkeys((layer, *read))),
            f"channel {channel} of {name!r} has a variance of {float(variance[channel]):.2g}, the median channel "
            f"{float(variance.median()):.2g}; with the batch norm folded in, its weights are {ratio:.0f} times the "
            f"median channel's, and amplify what rounding changes in their input: {percent(share)} of the output's "
            "error. Where the channel carries nothing, set its batch norm's weight to zero",
            ways,
        )


def _norm_after(layer: str, norms: Mapping[str, nn.Module]) -> str | None:
    """The batch norm that was folded into a layer: the first of the model's after it in the same module, in order."""
    parent = layer.rpartition(".")[0]
    beside = [name for name in norms if name.rpartition(".")[0] == parent]
    if len(beside) <= 1:
        return beside[0] if beside else None
    digits = "".join(c for c in layer.rpartition(".")[2] if c.isdigit())
    number = int(digits or 0)
    numbered = [
        n for n in beside if "".join(c for c in n.rpartition(".")[2] if c.isdigit()) in (digits, str(number + 1))
    ]
    return numbered[0] if numbered else None
