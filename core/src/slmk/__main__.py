"""`python -m slmk`: the command line where the script `slmk` is not on the path, and for `torchrun`."""

import sys

from slmk.cli import main

if __name__ == "__main__":
    sys.exit(main())
