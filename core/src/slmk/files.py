"""Small files, of which a reader never sees half; directories of runs, held by one process; streams nobody reads."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from slmk.errors import RunError

__all__ = ["drop", "held", "read_json", "resolved_spec", "write_json", "writing"]

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
def writing(path: Path) -> Iterator[None]:
    """Say which file or folder it was that could not be written.

    Raises:
        RunError: in place of an OSError, such as that of a full disk.
    """
    try:
        yield
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error


def read_json(path: Path) -> Any:
    """What `write_json` wrote."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write JSON types under a temporary name and rename it into place.

    Raises:
        RunError: the file cannot be written.
    """
    temporary = path.with_name(path.name + ".tmp")
    with writing(path):
        temporary.write_text(json.dumps(value, indent=2), encoding="utf-8")
        temporary.replace(path)


def resolved_spec(path: Path) -> Path | None:
    """The ``resolved.toml`` of the run to which a folder belongs: a run, a seed, or a checkpoint."""
    files = (folder / "resolved.toml" for folder in (path, *path.absolute().parents))
    return next((file for file in files if file.is_file()), None)


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


def drop(stream: TextIO) -> None:
    """Lead a stream that nobody reads into nowhere, together with what is left in its buffer.

    Whoever flushes it would fail otherwise: Python at its end, and `multiprocessing` before it starts a process.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
