"""``qnb::tensor``: gives a value of the graph its name in the ONNX file. It computes nothing."""

from __future__ import annotations

from functools import cache

import torch

DOMAIN, OP = "qnb", "Tensor"


@torch.library.custom_op("qnb::tensor", mutates_args=())
def _tensor(x: torch.Tensor, name: str) -> torch.Tensor:
    return x.clone()


@_tensor.register_fake
def _(x, name):
    return torch.empty_like(x)


mark = torch.ops.qnb.tensor.default


def translation_table() -> dict:
    """For ``torch.onnx.export(custom_translation_table=...)``: a mark becomes a node ``qnb.Tensor`` with the name as
    its attribute, which no optimization looks through; `qnb.export.onnx.qdq` then takes it out again."""
    domain = _domain()
    return {mark: lambda x, name: domain.Tensor(x, name=name)}


@cache
def _domain():
    from onnx.defs import OpSchema, register_schema
    from onnxscript import values

    types = [f"tensor({kind})" for kind in ("float", "float16", "bfloat16", "double")]
    register_schema(
        OpSchema(
            OP,
            DOMAIN,
            1,
            inputs=[OpSchema.FormalParameter("x", "T")],
            outputs=[OpSchema.FormalParameter("y", "T")],
            type_constraints=[("T", types, "float tensors")],
            attributes=[OpSchema.Attribute("name", OpSchema.AttrType.STRING, "the tensor's name")],
        )
    )
    return values.Opset(DOMAIN, 1)
