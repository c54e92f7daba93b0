"""Entries of encodings files, read: JSON -> Encoding, for both versions (see `qnb.export.encodings.file`)."""

from __future__ import annotations

import re
from dataclasses import replace

import torch
from torch import Tensor

from qnb.export.encodings.entries import Encoding, Entry, short

KINDS = {"PER_TENSOR": "tensor", "PER_CHANNEL": "channel", "PER_BLOCK": "block", "LPBQ": "block"}


def read_1(entry: Entry) -> Encoding:
    """An entry of a 1.0.0 file."""
    raw = entry.raw
    if entry.is_float:
        return _floating(entry, raw.get("bw"))
    if raw.get("dtype") != "INT":
        raise entry.error(f"dtype={short(raw.get('dtype'))}", "use 'INT' or 'FLOAT'")
    layout = KINDS.get(raw.get("enc_type")) if isinstance(raw.get("enc_type"), str) else None
    if layout is None:
        raise entry.error(f"enc_type={short(raw.get('enc_type'))}", f"use one of {', '.join(KINDS)}")
    if not isinstance(raw.get("is_sym"), bool):
        raise entry.error(f"is_sym={short(raw.get('is_sym'))}", "use true or false")
    bits, scale, offset = entry.whole("bw", 2, 16), entry.scales("scale").flatten(), entry.integers("offset").flatten()
    if raw.get("zero_point_shift") and entry.numbers("zero_point_shift").any():
        raise entry.error("zero lies between two codes (zero_point_shift)", "use a grid that holds zero")
    read = _checked(entry, Encoding(bits, False, raw["is_sym"], layout, scale, -offset))
    if raw["is_sym"] and (read.zero != 2 ** (bits - 1)).any():
        raise entry.error(
            "is_sym is true, but zero is not in the middle of the codes",
            f"use offset {-(2 ** (bits - 1))}, or is_sym false",
        )
    if layout == "block":
        read = replace(read, block_size=entry.whole("block_size", 1, 2**31))
    return _low_power_1(entry, read) if raw["enc_type"] == "LPBQ" else read


def _low_power_1(entry: Entry, read: Encoding) -> Encoding:
    """LPBQ: ``bw`` is the decompressed weight's; a block's scale is its integer times its channel's scale."""
    if not read.symmetric:
        raise entry.error("LPBQ with is_sym false", "LPBQ is symmetric")
    bits = entry.whole("compressed_bw", 2, read.bits - 1)
    integers, channels = _block_integers(entry, 2 ** (read.bits - bits)).flatten(), read.scale.numel()
    if integers.numel() % channels:
        raise entry.error(f"{integers.numel()} block scales for {channels} channels", "give every channel as many")
    scale = (integers.view(channels, -1) * read.scale[:, None]).flatten()
    zero = torch.full_like(scale, 2 ** (bits - 1), dtype=torch.float64)
    return replace(read, bits=bits, scale=scale, zero=zero, channels_first=True)


def _block_integers(entry: Entry, largest: int) -> Tensor:
    integers = entry.integers("per_block_int_scale")
    if not ((integers >= 1) & (integers <= largest)).all():
        raise entry.error("per_block_int_scale holds values that LPBQ lacks", f"use 1 to {largest}")
    return integers.float()


def read_2(entry: Entry) -> Encoding:
    """An entry of a 2.0.0 file."""
    raw = entry.raw
    kind = re.fullmatch(r"(u?)int(\d{1,2})|float(\d{1,2})", str(raw.get("output_dtype")))
    if kind is None:
        raise entry.error(f"output_dtype={short(raw.get('output_dtype'))}", "use int8, uint8, uint16, ...")
    if kind[3]:
        return _floating(entry, int(kind[3]))
    bits, signed = int(kind[2]), not kind[1]
    if not 2 <= bits <= 16:
        raise entry.error(f"output_dtype={raw['output_dtype']!r}", "use 2 to 16 bits")
    low_power = "per_block_int_scale" in raw
    scale = _low_power_2(entry, bits) if low_power else entry.scales("y_scale")
    given = entry.integers("y_zero_point") if raw.get("y_zero_point") is not None else torch.zeros_like(scale).double()
    middle = 2 ** (bits - 1)
    zero = given + middle if signed else given
    central = bool((zero == middle).all())
    symmetric = (signed or None) if central else False
    layout = "tensor" if raw.get("axis") is None else "channel"
    layout = "block" if low_power or raw.get("block_size") is not None else layout
    read = _checked(entry, Encoding(bits, False, symmetric, layout, scale, zero))
    if layout != "tensor":
        read = replace(read, axis=entry.whole("axis", -8, 7))
    return replace(read, block_size=entry.whole("block_size", 1, 2**31)) if layout == "block" else read


def _low_power_2(entry: Entry, bits: int) -> Tensor:
    integers, channel = _block_integers(entry, 2**bits), entry.scales("per_channel_float_scale")
    sizes = list(zip(integers.shape, channel.shape, strict=False))
    if integers.dim() != channel.dim() or any(b not in (1, a) for a, b in sizes):
        shapes = " and ".join(str(list(t.shape)) for t in (integers, channel))
        raise entry.error(
            f"per_block_int_scale and per_channel_float_scale of shapes {shapes}",
            "give both the same shape, with 1 at the axis of blocks",
        )
    return integers * channel


def _floating(entry: Entry, bits) -> Encoding:
    if isinstance(bits, bool) or bits not in (16, 32):
        raise entry.error(f"a float of {short(bits)} bits", "use 16, or 32 for no quantization")
    return Encoding(bits, floating=True)


def _checked(entry: Entry, read: Encoding) -> Encoding:
    """Scales and zero points that match and lie on the grid."""
    if read.scale.shape != read.zero.shape:
        raise entry.error(f"{read.scale.numel()} scales and {read.zero.numel()} offsets", "give one offset per scale")
    if not ((read.zero >= 0) & (read.zero <= 2**read.bits - 1)).all():
        raise entry.error(
            f"zero lies outside the {2**read.bits} codes of {read.bits} bits",
            "use an offset (1.0.0) or zero point (2.0.0) within the grid",
        )
    return read
