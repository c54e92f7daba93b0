"""Evaluation data reaches beyond what calibration saw."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from qnb.measures.layers.output_parts import OutputNoise, sqnr_db
from qnb.text import listed, percent
from qnb.workflow.diagnosis.case import Case
from qnb.workflow.diagnosis.cause import DATA, Suspicion, cause
from qnb.workflow.diagnosis.samples import distinct, evaluated_inputs

CLIPPED, CLIPPED_BY_FEW = 0.02, 0.003
"""Share of a layer's values that evaluation clips; a fraction of a percent is what any 100 samples leave out, and is
told only where they are few."""
TIMES = 4.0
"""That many times what the calibration data itself loses there."""
FEWEST = 16
"""Fewer calibration samples that differ are too few, whatever they look like."""
NAMED = 3


@cause("beyond_calibration", "evaluation data beyond the calibrated ranges", kind=DATA)
def find(case: Case) -> Iterator[Suspicion]:
    if distinct(case.survey) >= FEWEST:
        says = "The evaluation data reaches beyond the ranges that calibration saw"
        yield from _clipped(case, says, "", CLIPPED, case.look)


@cause("few_calibration_samples", "too few or too uniform calibration samples", kind=DATA)
def few(case: Case) -> Iterator[Suspicion]:
    seen = distinct(case.survey)
    if seen < FEWEST:
        alike = f", of which {seen} differ" if seen < case.survey.samples else ""
        yield from _clipped(
            case,
            "Too few calibration samples, or too much alike",
            f"{case.survey.samples} samples were calibrated with{alike}; ",
            CLIPPED_BY_FEW,
            lambda _: case.curve,
        )


def _clipped(case: Case, says: str, evidence: str, least: float, shows: Callable[[str], str]) -> Iterator[Suspicion]:
    """``shows`` gives the line that shows it, from the first layer."""
    if case.run.clipping is None:
        return
    table = case.run.clipping.set_index("layer").clipped_fraction
    here = case.run.comparison.set_index("layer").saturated_fraction.reindex(table.index).fillna(0.0)
    over = table[(table >= least) & (table > TIMES * here)]
    if over.empty:
        return
    first, most = str(over.index[0]), float(over.max())
    inputs = evaluated_inputs(case.flow)
    noise = OutputNoise(case.sim, inputs)
    removes = 1 - min(1.0, 10 ** ((sqnr_db(noise(case.sim)) - case.output_sqnr_db) / 10))
    way = case.remedies.calibrated_on(
        inputs,
        "calibrate with data like that of the evaluation",
        f"# make the workflow again, with calibration data like that of the evaluation\n{shows(first)}",
        removes,
        judged_on=inputs,
    )
    yield Suspicion(
        f"{says}: first at {first!r}",
        (first,),
        f"{evidence}in evaluation {len(over)} layers clip values that calibration did not, up to {percent(most)} of "
        f"them ({listed([str(layer) for layer in over.index], NAMED)}). Figures taken on the calibration data do not "
        "show it",
        (way,),
    )
