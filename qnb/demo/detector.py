"""Made pictures of shapes and a small detector."""

from __future__ import annotations

from qnb.demo.demo import Demo, load_weights

HELD_OUT, CALIBRATION = 300, 256


def detector(separate: bool = False, pixels: int = 640) -> Demo:
    """A single-shot detector of circles, squares and triangles on textured grounds; F1 at least 0.95 on 300 pictures.

    Boxes in pixels and scores in 0 to 1 leave it as one tensor ``[n, 320, 4 + 3]``, as detectors are often exported.
    Targets that give a concatenation one range have steps of 2.6 pixels there at 8 bits, and no score is left.

    Args:
        separate: boxes and scores are two outputs, ``{"boxes", "scores"}``, with a range each.
        pixels: side of the picture that boxes are in pixels of; the model sees a copy of 64 x 64.

    >>> demo = detector()
    >>> demo.evaluate(demo.model).value > 0.95
    True
    """
    from qnb.demo import shapes
    from qnb.demo.detection import f1
    from qnb.demo.detector_model import Detector

    held_out = shapes.pictures(HELD_OUT, shapes.HELD_OUT_SEED)
    boxes = held_out.boxes * (pixels / shapes.SIDE)
    parts = zip(held_out.images.split(100), boxes.split(100), held_out.labels.split(100), strict=True)
    return Demo(
        "detector",
        load_weights(Detector(pixels=pixels, separate=separate), "detector"),
        list(shapes.pictures(CALIBRATION, shapes.CALIBRATION_SEED).images.split(32)),
        f1(parts),
        len(shapes.CLASSES),
        "a single-shot detector of circles, squares and triangles, 300 made pictures held out",
    )
