"""Handwritten digits and a small convolutional network."""

from __future__ import annotations

from qnb.demo.demo import Demo, load_weights


def digits() -> Demo:
    """A depthwise-separable CNN on scikit-learn's handwritten digits; at least 97 % on 540 held-out images.

    Depthwise convolutions are the most sensitive to low precision: W8A8 loses a little here, W4A8 visibly.

    >>> demo = digits()
    >>> demo.evaluate(demo.model).value > 0.97
    True
    """
    from qnb.demo import data
    from qnb.demo.digits_model import DigitsNet
    from qnb.measures import accuracy

    split = data.load()
    held_out = list(zip(data.batches(split.test, 180), data.batches(split.test_labels, 180), strict=True))
    return Demo(
        "digits",
        load_weights(DigitsNet(), "digits"),
        data.batches(split.train, 32, 8),
        accuracy(held_out),
        10,
        "a MobileNet in miniature on 8 x 8 handwritten digits, 540 held out",
    )
