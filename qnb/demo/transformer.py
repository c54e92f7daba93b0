"""Handwritten digits and a small transformer."""

from __future__ import annotations

from qnb.demo.demo import Demo, load_weights


def transformer() -> Demo:
    """A vision transformer on scikit-learn's handwritten digits: keyword input ``pixels``, dataclass output.

    >>> demo = transformer()
    >>> demo.evaluate(demo.model).value > 0.96
    True
    """
    from qnb.demo import data
    from qnb.demo.transformer_model import DigitsTransformer
    from qnb.measures import accuracy

    split = data.load()
    images = [{"pixels": x} for x in data.batches(split.test, 180)]
    held_out = list(zip(images, data.batches(split.test_labels, 180), strict=True))
    calibration = [{"pixels": x} for x in data.batches(split.train, 32, 8)]
    return Demo(
        "transformer",
        load_weights(DigitsTransformer(), "transformer"),
        calibration,
        accuracy(held_out),
        10,
        "a vision transformer on 8 x 8 handwritten digits, 540 held out",
    )
