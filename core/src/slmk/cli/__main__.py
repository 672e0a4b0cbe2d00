"""``python -m slmk.cli``: the command line where the script ``slmk`` is not on the path."""

import sys

from slmk.cli import main

sys.exit(main())
