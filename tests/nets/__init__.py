"""Small nets of many kinds, with random weights that let a signal through: `NETS` by name."""

from tests.nets import detectors, images, pictures, sequences, transformers
from tests.nets.net import Net

NETS: dict[str, Net] = {**images.NETS, **detectors.NETS, **pictures.NETS, **sequences.NETS, **transformers.NETS}
