"""Noticing which files this process writes."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["writes_outside"]

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC
_PATH_OF = {"open": 0, "os.mkdir": 0, "os.remove": 0, "os.rename": 1, "os.truncate": 0, "os.symlink": 1}
"""Audit events that change files, and which of their arguments is the path."""
_listeners: list[list[str]] = []
_installed = False


@contextmanager
def writes_outside(directory: Path, root: Path) -> Iterator[list[str]]:
    """Collect the paths that are written inside the context, but for those in `directory`.

    Library caches are let be: what lies in the system's temporary folder (but not in `root`) or in ``~/.cache``, and
    compiled Python.
    """
    found: list[str] = []
    _install()
    _listeners.append(found)
    try:
        yield found
    finally:
        _listeners.remove(found)
        allowed, below = directory.resolve(), root.resolve()
        found[:] = [path for path in dict.fromkeys(found) if not _is_allowed(Path(path), allowed, below)]


def _install() -> None:
    """Audit hooks cannot be removed: one is installed once, and idles while nobody listens."""
    global _installed
    if not _installed:
        _installed = True
        sys.addaudithook(_hear)


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if not _listeners or event not in _PATH_OF:
        return
    path = arguments[_PATH_OF[event]]
    if isinstance(path, str | bytes | os.PathLike) and (event != "open" or _writes(*arguments[1:3])):
        for listener in _listeners:
            listener.append(os.path.abspath(os.fsdecode(path)))


def _writes(mode: object, flags: object) -> bool:
    if isinstance(mode, str):
        return any(letter in mode for letter in "wax+")
    return isinstance(flags, int) and bool(flags & _WRITING)


def _is_allowed(path: Path, directory: Path, root: Path) -> bool:
    path = path.resolve()
    if path.is_relative_to(directory):
        return True
    if path.is_relative_to(root):
        return False
    caches = (Path(tempfile.gettempdir()).resolve(), Path.home() / ".cache", Path("/dev"), Path("/proc"))
    return path.suffix == ".pyc" or "__pycache__" in path.parts or any(path.is_relative_to(each) for each in caches)
