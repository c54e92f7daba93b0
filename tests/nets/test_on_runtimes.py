"""What the simulation says of nets of many kinds is what ONNX Runtime and HTP compute of their files."""

import pytest

from qnb.errors import TargetError
from tests.nets import NETS
from tests.nets.figures import PRECISIONS, figures

pytestmark = pytest.mark.slow
LEAST_DB = {"w16a16": 45.0, "w8a16": 45.0, "w8a8": 22.0, "w4a8": 22.0}
"""At every output, on each runtime."""
LEAST_LAYER_DB = {"w16a16": 45.0, "w8a16": 45.0, "w8a8": 18.0, "w4a8": 18.0}
"""At every layer: an 8-bit layer whose mean is small next to its range has less signal to compare."""
LEAST_SAME = 0.9
"""Share of class numbers that are the same: where two scores are nearly equal, one step of rounding decides."""

SHORT_DB = {
    # 8-bit rounding, which the norms of each block amplify: each block alone agrees at 30 to 41 dB.
    ("mobilenet_v3", "w8a8"): (18.0, 18.0),
    # 8-bit rounding in 30 layers; most of all where `wide` reads max pools, which differ little from place to place: of
    # what its norm leaves when it takes the mean away, rounding is a larger part.
    ("yolo", "w8a8"): (22.0, 14.0),
    ("yolo", "w4a8"): (22.0, 11.0),
}
"""What falls short on HTP, and why: least SQNR of outputs, of layers."""
REFUSED = {
    # A depthwise transposed convolution takes one scale per tensor, and none of 4 bits.
    ("decoder", "w4a8"): "smooth",
}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("net", NETS)
def test_simulation_and_runtimes_agree(net, precision, htp, tmp_path):
    found = figures(net, precision, tmp_path, htp)
    on_cpu = next(found)
    assert on_cpu.least_db >= LEAST_DB[precision] and on_cpu.layer_db >= LEAST_DB[precision], on_cpu
    assert all(share == 1 for share in on_cpu.same.values()), on_cpu
    if (net, precision) in REFUSED:
        with pytest.raises(TargetError, match=REFUSED[net, precision]):
            next(found)
        return
    on_htp = next(found)
    outputs, layers = SHORT_DB.get((net, precision), (LEAST_DB[precision], LEAST_LAYER_DB[precision]))
    assert on_htp.least_db >= outputs and on_htp.layer_db >= layers, on_htp
    assert all(share >= LEAST_SAME for share in on_htp.same.values()), on_htp
