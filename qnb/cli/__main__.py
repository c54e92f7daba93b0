"""``python -m qnb.cli``: the command ``qnb``, also where the folder of scripts is not on the PATH."""

import sys

from qnb.cli import main

if __name__ == "__main__":
    sys.exit(main())
