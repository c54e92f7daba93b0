"""Snapdragon SoCs: Hexagon architecture and QNN's number of each.

Source: each pair (soc_model, htp_arch) is what QNN 2.51 itself writes into a context binary it compiles for that
number; ExecuTorch's ``QcomChipset`` and LiteRT's ``soc_table`` (both by Qualcomm) give the same where they have the
SoC. One row differs: for sm8475 they say v69, while QNN 2.51 compiles v68 code (which v69 runs too).
Marketing names as commonly written. Given a soc_model, QNN takes the architecture from it and ignores ``htp_arch``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import pandas as pd

from qnb.errors import TargetError
from qnb.registry import Registry
from qnb.targets import TARGETS


@dataclass(frozen=True)
class Soc:
    """One SoC.

    Args:
        soc: its part number, in lower case.
        name: as it is sold.
        htp_arch: Hexagon architecture.
        soc_model: QNN's number; None stands for any SoC of the architecture.
        target: the qnb target with its rules.
    """

    soc: str
    name: str
    htp_arch: int
    soc_model: int | None
    target: str


SOCS: Registry[Soc] = Registry("SoC", TargetError)
"""By part number."""

for _soc, _name, _arch, _model in (
    ("sm7325", "Snapdragon 778G", 68, 35),
    ("sm7350", "Snapdragon 780G", 68, 32),
    ("sm7450", "Snapdragon 7 Gen 1", 68, 41),
    ("sm8350", "Snapdragon 888", 68, 30),
    ("qcs6490", "QCS6490", 68, 93),
    ("sa8295", "SA8295P", 68, 39),
    ("sa8540", "SA8540P", 68, 62),
    ("sc8280x", "Snapdragon 8cx Gen 3", 68, 37),
    ("sm8450", "Snapdragon 8 Gen 1", 69, 36),
    ("sm8475", "Snapdragon 8+ Gen 1", 69, 42),
    ("sxr2230p", "Snapdragon XR2 Gen 2", 69, 53),
    ("sm7550", "Snapdragon 7 Gen 3", 73, 64),
    ("sm7635", "Snapdragon 7s Gen 3", 73, 73),
    ("sm7675", "Snapdragon 7+ Gen 3", 73, 70),
    ("sm7750", "Snapdragon 7 Gen 4", 73, 86),
    ("sm8550", "Snapdragon 8 Gen 2", 73, 43),
    ("sm8635", "Snapdragon 8s Gen 3", 73, 68),
    ("sm8735", "Snapdragon 8s Gen 4", 73, 85),
    ("qcs8550", "QCS8550", 73, 66),
    ("qcs9100", "QCS9100", 73, 77),
    ("sa8255", "SA8255P", 73, 52),
    ("sc8380xp", "Snapdragon X Elite", 73, 60),
    ("sm8650", "Snapdragon 8 Gen 3", 75, 57),
    ("qcs8300", "QCS8300", 75, 82),
    ("sm8750", "Snapdragon 8 Elite", 79, 69),
    ("sm8845", "Snapdragon 8 Gen 5", 81, 97),
    ("sm8850", "Snapdragon 8 Elite Gen 5", 81, 87),
    ("sa8797", "SA8797P", 81, 72),
    ("sc8480xp", "Snapdragon X2 Elite", 81, 88),
):
    SOCS.add(_soc, Soc(_soc, _name, _arch, _model, f"htp-v{_arch}"))


def get(soc: str | Soc) -> Soc:
    """The SoC with this part number, or any of an architecture (``"htp-v75"``); a `Soc` passes through.

    Raises:
        TargetError: there is none; it lists what there is.

    >>> get("SM8650").name, get("sm8650").target, get("htp-v79").soc_model
    ('Snapdragon 8 Gen 3', 'htp-v75', None)
    """
    if isinstance(soc, Soc):
        return soc
    name = str(soc).lower()
    arch = TARGETS[name].htp_arch if name in TARGETS else None
    return SOCS[name] if arch is None else Soc(name, f"any Hexagon v{arch}", arch, None, name)


def socs() -> pd.DataFrame:
    """All SoCs that `qnb.runtimes.QnnHtp` knows: columns ``soc, name, htp_arch, soc_model, target``.

    >>> socs().set_index("soc").loc["sm8650", "htp_arch"]
    np.int64(75)
    """
    return pd.DataFrame([asdict(SOCS[name]) for name in SOCS])
