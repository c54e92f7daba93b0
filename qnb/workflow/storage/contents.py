"""What ``workflow.json`` holds, all in one schema, in the form of today's version."""

from __future__ import annotations

from qnb import schema
from qnb.targets import stored as targets
from qnb.workflow.storage.deployments import DEPLOYMENT, PERFORMANCE
from qnb.workflow.storage.findings import ATTRIBUTION, CALIBRATION_CURVE, CHECK, DIAGNOSIS, SENSITIVITY, SEQUENCE, WORST
from qnb.workflow.storage.fronts import FRONT
from qnb.workflow.storage.runs import RUN

FORMAT, VERSION = "qnb.workflow", 3
MODEL = "qnb.model"
"""The kind of ``model.safetensors``."""

SCHEMA = schema.record(
    {
        "format": {"const": FORMAT},
        "version": schema.COUNT,
        "written": schema.record(dict.fromkeys(("date", "qnb", "torch", "python"), schema.TEXT)),
        "model": schema.TEXT,
        "target": targets.SCHEMA,
        "tolerance": schema.FINITE | {"minimum": 0},
        "calibration_method": schema.TEXT,
        "seed": schema.WHOLE,
        "evaluation_forwards": schema.maybe(schema.COUNT),
        "check": schema.maybe(CHECK),
        "runs": schema.list_of(RUN, 10_000),
        "proposal": schema.maybe(RUN),
        "sensitivities": schema.list_of(SENSITIVITY),
        "pareto_fronts": schema.list_of(FRONT),
        "diagnoses": schema.list_of(DIAGNOSIS),
        "deployments": schema.list_of(DEPLOYMENT),
        "performance": schema.table_of(PERFORMANCE),
    },
    {
        "attributions": schema.list_of(ATTRIBUTION),
        "sequences": schema.list_of(SEQUENCE),
        "calibration_curves": schema.list_of(CALIBRATION_CURVE),
        "worst": schema.list_of(WORST),
    },
)
"""``model`` is the name of the model's class; ``evaluation_forwards`` how many passes an evaluation takes."""
