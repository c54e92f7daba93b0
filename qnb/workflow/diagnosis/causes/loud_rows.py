"""A few loud rows of a table of embeddings or positions set the scale for all of them."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from qnb.graph import ops
from qnb.measures.layers.outliers import outlier_ratio
from qnb.text import listed, percent
from qnb.workflow.diagnosis.case import Case
from qnb.workflow.diagnosis.cause import Suspicion, cause

LOUD = 6.0
"""A row this many times the median one is loud."""
FEW = 0.05
"""Loud rows are few: at most this share of all, or one."""
LEAST_SHARE = 0.05


@cause("loud_rows", "a few loud rows of an embedding or position table")
def find(case: Case) -> Iterator[Suspicion]:
    for site in case.sim.plan.weights.values():
        table = case.sim.weight_tensor(site.key).detach()
        is_table = ops.name(site.user) == "embedding"
        quantizer = case.sim.weight(site.key)
        if not is_table or table.dim() < 2 or quantizer.scale is None or not quantizer.active:
            continue
        yield from _rows(case, site.layer, site.layer, table, quantizer.scale.numel() == 1)
    for site in case.sim.plan.activations.values():  # constants that are added, such as positions, are activations
        source = site.nodes[0] if site.nodes else None
        if source is not None and source.op == "get_attr":
            table = case.constant(source)
            if table is not None and table.dim() >= 2 and table.is_floating_point():
                reader = next((case.layer_of[u.name] for u in source.users if u.name in case.layer_of), site.layer)
                yield from _rows(case, site.layer, reader, table.reshape(-1, table.shape[-1]), True)


def _rows(case: Case, layer: str, also: str, table: torch.Tensor, one_scale: bool) -> Iterator[Suspicion]:
    """What is said of a table ``[rows, width]`` that a layer looks up, or adds."""
    reach = table.reshape(table.shape[0], -1).abs().amax(1)
    ratio, median = outlier_ratio(reach), float(reach[reach > 0].median()) if (reach > 0).any() else 0.0
    loud = [int(i) for i in (reach > LOUD * median).nonzero().flatten()]
    layers = list(dict.fromkeys((layer, also)))
    share = case.share(layers)
    if not one_scale or not ratio >= LOUD or len(loud) > max(1, FEW * len(reach)) or share < LEAST_SHARE:
        return
    ways = (
        case.remedies.wider(layers, case.share(layers, "activation", "weight")),
        case.remedies.wider(layers, case.share(layers, "weight"), weights=True),
    )
    yield Suspicion(
        f"A few loud rows in the table of {layer!r}",
        tuple(layers),
        f"{'row' if len(loud) == 1 else 'rows'} {listed([str(i) for i in loud], 5)} of {len(reach)} reach "
        f"{float(reach.max()):.3g}, {ratio:.0f} times the median row, and one scale serves them all: {percent(share)} "
        "of the output's error",
        ways,
    )
