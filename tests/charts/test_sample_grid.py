"""Samples as pictures and signals, live and without scripts."""

import base64
import struct
import xml.etree.ElementTree as ET
import zlib

import numpy as np
import pytest

from qnb import charts
from qnb.charts.pixels import LARGEST, png, to_pixels
from qnb.charts.sample_grid import ACROSS, LINES
from qnb.charts.svg.picture import svg
from qnb.errors import InputError

SVG = "{http://www.w3.org/2000/svg}"


def decoded(file: bytes) -> np.ndarray:
    """A PNG's pixels, by hand: rows without a filter."""
    assert file[:8] == b"\x89PNG\r\n\x1a\n"
    at, parts = 8, {}
    while at < len(file):
        (size,), kind = struct.unpack(">I", file[at : at + 4]), file[at + 4 : at + 8]
        data, crc = file[at + 8 : at + 8 + size], file[at + 8 + size : at + 12 + size]
        assert crc == struct.pack(">I", zlib.crc32(kind + data))
        parts[kind], at = data, at + 12 + size
    width, height, bits, colour = struct.unpack(">IIBB", parts[b"IHDR"][:10])
    rows = np.frombuffer(zlib.decompress(parts[b"IDAT"]), np.uint8).reshape(height, -1)
    assert bits == 8 and not rows[:, 0].any()
    return rows[:, 1:].reshape(height, width, {0: 1, 2: 3}[colour])


@pytest.mark.parametrize("channels", [1, 3])
def test_a_png_holds_the_pixels(channels):
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, channels), dtype=np.uint8)
    assert np.array_equal(decoded(png(picture)), picture)


def test_small_pictures_are_repeated_and_take_all_of_black_to_white():
    shown = to_pixels(np.array([[[-3.0, 1.0], [-1.0, -3.0]]]))
    assert shown.shape == (48, 48, 1)
    assert shown[::24, ::24, 0].tolist() == [[0, 255], [128, 0]] and len(np.unique(shown)) == 3


def test_large_pictures_are_averaged():
    values = np.zeros((3, 200, 100))
    values[0, :100] = 1.0
    shown = to_pixels(values)
    assert shown.shape == (50, 25, 3) and max(shown.shape) <= LARGEST
    assert (shown[:25, :, 0] == 255).all() and not shown[25:].any() and not shown[:, :, 1:].any()


@pytest.mark.parametrize(("channels", "kept"), [(1, 1), (2, 1), (3, 3), (4, 3), (7, 1)])
def test_channels_that_are_shown(channels, kept):
    assert to_pixels(np.random.default_rng(0).normal(size=(channels, 8, 8))).shape[2] == kept


@pytest.mark.parametrize(
    "values", [np.full((1, 4, 4), np.nan), np.full((1, 4, 4), 7.0)], ids=["not finite", "constant"]
)
def test_pictures_of_nothing_are_black(values):
    assert not to_pixels(values).any()


def test_pictures_stand_in_rows_with_their_captions():
    file = png(np.zeros((4, 4, 1), np.uint8))
    figure = charts.sample_grid([file] * 6, [f"sample {i}<br>1 → 2" for i in range(6)], title="Worst")
    assert [a.text for a in figure.layout.annotations] == [f"sample {i}<br>1 → 2" for i in range(6)]
    places = [(i.x, i.y) for i in figure.layout.images]
    assert [x for x, _ in places] == [0.5, 1.5, 2.5, 3.5, 0.5, 1.5] and places[4][1] < places[0][1]
    assert figure.layout.xaxis.range == (0, ACROSS)


def test_a_signal_is_drawn_in_its_cell_channel_by_channel():
    signal = np.stack([np.linspace(-5, 5, 40), np.zeros(40)])
    figure = charts.sample_grid([signal, signal + 100], ["a", "b"])
    assert len(figure.data) == 2, "a line for each channel, through all samples"
    x, y = (np.array(figure.data[0][k], dtype=float) for k in "xy")
    assert np.isnan(x).sum() == 2 and np.nanmin(x) > 0 and np.nanmax(x) < 2
    assert np.nanmax(np.abs(y[:40] - y[41:81])) < 1e-4, "each sample from its smallest to its largest value"
    assert len(charts.sample_grid([np.zeros((LINES + 5, 9))], ["a"]).data) == LINES


def test_both_are_drawn_without_scripts():
    file = png(np.zeros((4, 4, 1), np.uint8))
    text = svg(charts.sample_grid([file, np.random.default_rng(0).normal(size=(2, 30))], ["<b>a", "b"], title="t"))
    root = ET.fromstring(text)
    (image,) = root.iter(f"{SVG}image")
    assert base64.b64decode(image.get("href").partition(",")[2]) == file
    assert "<script" not in text and "NaN" not in text and [e.text for e in root.iter(f"{SVG}text")].count("<b>a") == 1
    box = [float(image.get(k)) for k in ("x", "y", "width", "height")]
    assert box[0] > 0 and box[2] > 50 and box[3] > 50 and box[0] + box[2] < 640 / 2


def test_a_picture_from_elsewhere_is_not_drawn():
    figure = charts.sample_grid([png(np.zeros((4, 4, 1), np.uint8))], ["a"])
    figure.layout.images[0].source = "https://example.org/a.png"
    assert "example.org" not in svg(figure)


@pytest.mark.parametrize("samples", [["text"], [np.zeros(3)], [np.zeros((1, 3))] * 2])
def test_what_cannot_be_drawn_is_refused(samples):
    with pytest.raises(InputError, match=r"charts\.sample_grid"):
        charts.sample_grid(samples, ["a"])
