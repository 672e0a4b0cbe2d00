"""Writing files, of which a reader never sees half, and saying which one it was that could not be written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from slmk.errors import RunError

__all__ = ["read_json", "replacing", "write_json", "writing"]


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


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, for a file or a folder, which takes the place of `path` at the end.

    Until then `path` is what it was before, and so it stays after an error, when nothing is left of the temporary one.
    A process that is killed may leave it, under the name of `path` with ``.tmp`` behind; the next one removes it.
    That it outlives a power failure is not promised: for that, write it through to the disk (``os.fsync``).

    Raises:
        RunError: in place of an OSError within the block or at its end, such as that of a full disk.
    """
    temporary = path.with_name(path.name + ".tmp")
    with writing(path):
        _remove(temporary)
        try:
            yield temporary
            if temporary.is_dir():  # Which would not take the place of a folder that is not empty.
                _remove(path)
            temporary.replace(path)
        except BaseException:
            _remove(temporary)
            raise


def _remove(path: Path) -> None:
    """Remove a file or folder as far as that can be done, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def read_json(path: Path) -> Any:
    """What `write_json` wrote."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write JSON types, replacing the file as a whole.

    Raises:
        RunError: the file cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2), encoding="utf-8")
