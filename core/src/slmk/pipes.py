"""Streams that nobody reads any more, such as stdout after `slmk list | head`."""

from __future__ import annotations

import os
from typing import TextIO

__all__ = ["drop"]


def drop(stream: TextIO) -> None:
    """Lead a stream that nobody reads into nowhere, together with what is left in its buffer.

    Whoever flushes it would fail otherwise: Python at its end, and `multiprocessing` before it starts a process.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
