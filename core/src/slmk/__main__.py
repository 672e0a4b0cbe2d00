"""``python -m slmk`` is the command ``slmk``: for tools that start modules, such as ``torchrun``."""

import sys

from slmk.cli import main

if __name__ == "__main__":
    sys.exit(main())
