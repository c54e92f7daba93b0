"""A metric so noisy that nothing can be said of the loss."""

from __future__ import annotations

from collections.abc import Iterator

from qnb.text import amount
from qnb.workflow.diagnosis.case import Case
from qnb.workflow.diagnosis.cause import DATA, Suspicion, cause
from qnb.workflow.verdict import UNCLEAR, deciding_samples


@cause("noisy_metric", "a metric too noisy to decide", kind=DATA)
def find(case: Case) -> Iterator[Suspicion]:
    run, flow = case.run, case.flow
    drop, n = run.drop, run.score.n
    if run.verdict.status != UNCLEAR or drop is None or drop.low != drop.low or n is None:
        return
    if drop.value > flow.tolerance:  # more samples may decide, but something was lost
        return
    wanted = deciding_samples(drop, n, flow.tolerance)
    pairs = "" if drop.paired else ", or return qnb.Score with per_sample, so that runs are compared sample by sample"
    do = f"evaluate about {wanted:,} samples" if wanted else "evaluate many more samples, or accept a larger tolerance"
    yield Suspicion(
        "The metric is too noisy to decide",
        (),
        f"on {n:,} samples the loss is {amount(drop.value)} with a 95 % interval of {amount(drop.low)} to "
        f"{amount(drop.high)}; the tolerance of {amount(flow.tolerance)} lies inside it",
        to_do=do + pairs,
        certain=True,
    )
