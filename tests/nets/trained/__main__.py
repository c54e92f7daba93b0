"""Train the nets that are not of the demo: ``python -m tests.nets.trained [unet|resnet ...]``."""

import sys

from tests.nets.trained import WEIGHTS, resnet, unet
from tools.train_demo import stored

RECIPES = {
    "unet": {"task": unet.Task, "make": unet.make, "epochs": 16, "rate": 0.008, "decay": 0.01, "seed": 0, "least": 0.8},
    "resnet": {
        "task": resnet.Task,
        "make": resnet.make,
        "epochs": 20,
        "rate": 0.01,
        "decay": 0.01,
        "seed": 0,
        "least": 0.97,
    },
}

if __name__ == "__main__":
    sys.exit(int(not all(stored(name, RECIPES[name], WEIGHTS) for name in sys.argv[1:] or RECIPES)))
