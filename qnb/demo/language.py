"""The text of Python's help and a small language model."""

from __future__ import annotations

from qnb.demo.demo import Demo, load_weights


def language() -> Demo:
    """A causal transformer that continues the help on Python's topics, character by character.

    It takes ``input_ids [n, 64]``, ASCII codes, and gives a dataclass with ``logits [n, 64, 128]``. The metric is the
    mean cross-entropy of the next character in nats, lower is better: at most 1.5 on 200 held-out sequences.

    >>> demo = language()
    >>> demo.evaluate(demo.model).value < 1.5
    True
    """
    from qnb.demo import text
    from qnb.demo.language_model import VOCABULARY, LanguageModel

    texts = text.load()
    held_out = text.sequences(texts.test, text.HELD_OUT)
    calibration = text.sequences(texts.train, text.CALIBRATION)[:, :-1]
    return Demo(
        "language",
        load_weights(LanguageModel(), "language"),
        [{"input_ids": ids} for ids in calibration.split(32)],
        text.cross_entropy(list(held_out.split(100))),
        VOCABULARY,
        "a causal transformer on the characters of Python's help, 200 sequences held out",
    )
