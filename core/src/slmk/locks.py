"""Directories that one process holds at a time."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slmk.errors import RunError
from slmk.files import writing

__all__ = ["held"]

LOCK = ".lock"
"""The file in a directory that says which process holds it."""
_locks: set[int] = set()
"""Descriptors of locks that this process has."""


def _let_go() -> None:
    """In a child, which would keep the locks if it lived on."""
    while _locks:
        os.close(_locks.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


@contextmanager
def held(directory: Path) -> Iterator[None]:
    """Keep other processes out of a directory meanwhile, by a lock that ends with this process at the latest.

    Processes that are forked off do not inherit it. Where there are no such locks, as on Windows, nobody is kept out.

    Raises:
        RunError: another process holds it, or this one does already.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    with writing(directory / LOCK):
        descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    _locks.add(descriptor)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(descriptor, 200).decode(errors="replace") or "another process"
            raise RunError(f"{directory} is in use by {holder}: wait until that has ended, or end it") from error
        except OSError:  # A file system without locks.
            pass
        with writing(directory / LOCK):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"process {os.getpid()} on {platform.node()}".encode())
        yield
    finally:
        if descriptor in _locks:  # Not in a child.
            _locks.remove(descriptor)
            os.close(descriptor)
