"""What a target supports and where its quantizers go: data, not code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from qnb.errors import TargetError
from qnb.graph import ops
from qnb.registry import Registry
from qnb.targets.limits import Limit

CONV = ops.family("convolution")
CONV_TRANSPOSE = ops.family("transposed convolution")
DENSE = ("linear", "addmm")


@dataclass(frozen=True)
class Supergroup:
    """Ops that a target fuses: one output quantizer for the chain ``first -> then``."""

    first: tuple[str, ...]
    then: tuple[str, ...]


@dataclass(frozen=True)
class Target:
    """Placement rules and supported precisions of one kind of device.

    Args:
        supergroups: chains with one output quantizer.
        fuse_depthwise: whether a depthwise convolution may start a supergroup.
        fixed_ranges: output range by op name, whatever calibration saw.
        resize_shares_encoding: an interpolating resize keeps its input's encoding.
        tied_concat: inputs and output of a concatenation share one encoding. Otherwise the target converts: an input
            keeps its own where its range is fixed, or where other ops read it too.
        unconverted_at_16: ops whose 16-bit output it does not convert for a concatenation whose zero point is 0: there,
            the concatenation's range begins a little below zero.
        written_out: ops that it runs only, or better, as several others (`qnb.graph.target_form`), by name;
            recurrent layers step by step (`qnb.sim.recurrent_steps`).
        norm_weights, embedding_weights: "weights" or "activations": whose grid they take.
        symmetric_matmul_rhs_16bit: the second input of a 16-bit matmul is symmetric.
        min_softmax_input_range_16bit: a softmax needs its 16-bit input to span this much, from the range's lower to its
            upper end.
        max_weight_code_16bit: largest positive code of 16-bit weights, and of activations in their place.
        grouped_conv_transpose_granularity: "channel" or "tensor": what has a scale of its own in a transposed
            convolution of several groups, where channels or blocks have one elsewhere.
        simulate_bias: int32 biases are part of the simulation.
        limits: ops that it does not run, or only coarsely.
        mask_encoding: scores need an encoding after the attention mask too.
        one_activation_width: kernels read and write activations of one bit-width.
        precisions: what the target runs, by name.
        accepts_any_precision: others than these run too, as it is no device or computes in floats.
        notes: what is worth knowing about one of them, by name; ``"*"`` stands for those that are not named.
        verified_by: the program that precisions are verified with, "" where there is none.
        htp_arch: Hexagon architecture, for HTP targets.
    """

    name: str
    description: str
    supergroups: tuple[Supergroup, ...]
    fuse_depthwise: bool = True
    fixed_ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict, hash=False)
    resize_shares_encoding: bool = False
    tied_concat: bool = True
    unconverted_at_16: tuple[str, ...] = ()
    written_out: tuple[str, ...] = ()
    norm_weights: str = "weights"
    embedding_weights: str = "weights"
    symmetric_matmul_rhs_16bit: bool = False
    min_softmax_input_range_16bit: float = 0.0
    max_weight_code_16bit: int = 32767
    grouped_conv_transpose_granularity: str = "channel"
    simulate_bias: bool = True
    limits: tuple[Limit, ...] = ()
    mask_encoding: bool = False
    one_activation_width: bool = False
    precisions: tuple[str, ...] = ()
    accepts_any_precision: bool = False
    notes: Mapping[str, str] = field(default_factory=dict, hash=False)
    verified_by: str = ""
    htp_arch: int | None = None


TARGETS: Registry[Target] = Registry("target", TargetError, of=Target, group="qnb.targets")
"""All targets by name."""


def get(target: str | Target) -> Target:
    """The target with this name; a `Target` passes through.

    >>> get("htp-v75").htp_arch
    75
    """
    return target if isinstance(target, Target) else TARGETS[target]


def variant(base: Target, name: str, **changes: Any) -> Target:
    """Register a target that differs from ``base`` in a few rows."""
    return TARGETS.add(name, replace(base, name=name, **changes))
