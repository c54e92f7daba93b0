"""The table of SoCs."""

import pytest

from qnb.errors import TargetError
from qnb.runtimes import soc, socs
from qnb.targets import TARGETS


def test_the_table_is_consistent():
    table = socs()
    assert list(table.columns) == ["soc", "name", "htp_arch", "soc_model", "target"]
    for column in ("soc", "name", "soc_model"):
        assert table[column].is_unique
    assert {"sm8350", "sm8450", "sm8550", "sm8650", "sm8750", "sm8850"} <= set(table["soc"])
    for row in table.itertuples():
        assert TARGETS[row.target].htp_arch == row.htp_arch


def test_every_target_of_htp_has_a_soc():
    assert set(socs()["target"]) == {name for name in TARGETS if TARGETS[name].htp_arch}


def test_get():
    assert soc.get("SM8650") is soc.get("sm8650") is soc.get(soc.get("sm8650"))
    assert soc.get("htp-v75").soc_model is None
    with pytest.raises(TargetError, match="there is no 'sm8660'.*Did you mean 'sm8650'.*sm8750"):
        soc.get("sm8660")
