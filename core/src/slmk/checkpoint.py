"""Checkpoints: a tree of state as safetensors and JSON, written so that a crash never leaves half a one.

No pickle anywhere: loading a checkpoint from a stranger runs no code.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from slmk import world
from slmk.errors import CheckpointError, RunError
from slmk.files import replacing, writing
from slmk.statistics import finite

if TYPE_CHECKING:
    from slmk.session import Session

__all__ = ["Checkpoints", "best_return", "read_checkpoint", "write_checkpoint"]

FORMAT = 2
"""Version of the files; another one is refused."""
TENSORS, TREE = "state.safetensors", "state.json"
_REFERENCE = "$tensor"


class Checkpoints:
    """The checkpoints of one session: the last `keep` and the best."""

    def __init__(self, directory: Path, keep: int = 2) -> None:
        self.directory = directory
        self.keep = keep

    def save(self, session: Session, *, best: bool = False) -> None:
        """Write the session's state, and drop what is no longer kept.

        Raises:
            RunError: the disk is full or the directory cannot be written.
        """
        name = f"{session.env_steps:012d}"
        about = {
            "env_steps": session.env_steps,
            "seed": session.seed,
            "env": session.env.info.to_json(),
            "policy": session.blueprint.policy_sections(),
        }
        try:
            write_checkpoint(self.directory / name, session.state_dict(), about)
            if best:
                with replacing(self.directory / "best") as temporary:
                    _write_synced(temporary, name.encode())
            self._prune()
        except (OSError, SafetensorError) as error:
            raise RunError(f"cannot write a checkpoint to {self.directory}: {error}") from error

    def latest(self) -> Path | None:
        """The newest whole checkpoint, or None."""
        return max(_whole(self.directory), default=None)

    def newest_of_all(self) -> Path | None:
        """The newest that every process of the world has: a crash may have come between two processes' saves."""
        whole = world.in_all(path.name for path in _whole(self.directory))
        return self.directory / max(whole) if whole else None

    def best(self) -> Path | None:
        """The checkpoint with the best evaluation, or else the newest, or None."""
        marker = self.directory / "best"
        path = self.directory / marker.read_text() if marker.exists() else None
        return path if path is not None and path.exists() else self.latest()

    def _prune(self) -> None:
        kept = {*sorted(_whole(self.directory))[-self.keep :], self.best()}
        for path in self.directory.iterdir():
            if path.is_dir() and path not in kept:
                shutil.rmtree(path)


def _whole(directory: Path) -> list[Path]:
    """The checkpoints of a directory that were written to their end."""
    return [path for path in directory.glob("[0-9]*") if path.suffix != ".tmp"]


def write_checkpoint(path: Path, state: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    """Write a state tree to the directory `path`: under a temporary name, synced, then renamed into place.

    Raises:
        RunError: the directory cannot be written; nothing is left of this checkpoint then, and a former one stays.
        SafetensorError: the same of the tensors, as where the disk is full.
    """
    tensors: dict[str, Tensor] = {}
    tree = _split(state, "", tensors, {})
    with replacing(path) as temporary:
        temporary.mkdir(parents=True)
        save_file(_apart(tensors), temporary / TENSORS)
        _sync(temporary / TENSORS)
        text = json.dumps({"format": FORMAT, "about": about, "state": tree}, allow_nan=True)
        _write_synced(temporary / TREE, text.encode())
    with writing(path.parent):
        _sync(path.parent)


def read_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The state tree of a checkpoint, and what was written about it.

    Tensors are on the CPU, mapped from the file: what nobody looks at is not read.

    Raises:
        CheckpointError: the checkpoint is missing, truncated or foreign, of another format, or too large to be mapped.
    """
    with _read_errors(path):
        document = _read_tree(path)
        return _join(document["state"], _mapped(path / TENSORS)), document["about"]


def best_return(path: Path) -> float | None:
    """The highest mean return of an evaluation up to a checkpoint, if there was one.

    Raises:
        CheckpointError: as for `read_checkpoint`; but tensors are not read.
    """
    with _read_errors(path):
        return finite(_read_tree(path)["state"]["best"])


def _read_tree(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((path / TREE).read_text())
    if "format" not in document:
        raise ValueError("it has no format")
    if document["format"] != FORMAT:
        raise CheckpointError(f"{path}: checkpoint format {document['format']}; this slmk reads format {FORMAT}")
    return document


def _mapped(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except RuntimeError as error:
        advice = "Linux maps files larger than main memory and swap after `sysctl vm.overcommit_memory=1`"
        raise CheckpointError(f"{error}; {advice}") from error


@contextmanager
def _read_errors(path: Path) -> Iterator[None]:
    """Say of what goes wrong in reading the checkpoint which one it was."""
    try:
        yield
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: not a checkpoint: {error.filename} is missing") from error
    except (ValueError, KeyError, TypeError, OSError, SafetensorError) as error:
        message = f"{path}: the checkpoint is truncated or not one of slmk: {error}{_without(path)}"
        raise CheckpointError(message) from error


def _without(path: Path) -> str:
    """What may be done about a checkpoint that cannot be read, where there is an older one."""
    older = max((other for other in _whole(path.parent) if other < path), default=None)
    return f"; delete that folder to go on from {older.name}" if older else ""


def _split(value: Any, name: str, tensors: dict[str, Tensor], seen: dict[Any, str]) -> Any:
    """The tree as JSON, with tensors moved to `tensors`; those that share their memory are written once."""
    match value:
        case Tensor() | np.ndarray():
            tensor = torch.from_numpy(value) if isinstance(value, np.ndarray) else value.detach()
            key = (tensor.device, tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype, tensor.numel() == 0)
            if key not in seen or tensor.numel() == 0:
                seen[key] = name
                tensors[name] = tensor.cpu().contiguous()
            return {_REFERENCE: seen[key]}
        case Mapping():
            return {str(k): _split(v, f"{name}/{k}" if name else str(k), tensors, seen) for k, v in value.items()}
        case list() | tuple():
            return [_split(item, f"{name}/{index}", tensors, seen) for index, item in enumerate(value)]
        case np.generic():
            return value.item()
    return value


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, of which those that share a storage with one before are copied: safetensors refuses them otherwise.

    All others, such as a replay's, are written from where they lie, since nothing changes them meanwhile.
    """
    storages: set[int] = set()
    apart: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        storage = tensor.untyped_storage().data_ptr()
        is_alone = tensor.numel() > 0 and storage not in storages
        apart[name] = tensor if is_alone else tensor.clone()
        if is_alone:
            storages.add(storage)
    return apart


def _join(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    match value:
        case {"$tensor": str(name), **rest} if not rest:
            return tensors[name]
        case dict():
            return {key: _join(item, tensors) for key, item in value.items()}
        case list():
            return [_join(item, tensors) for item in value]
    return value


def _write_synced(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    _sync(path)


def _sync(path: Path) -> None:
    """Force a file or directory to the disk. Directories cannot be opened on Windows, where renames are journalled."""
    if path.is_dir() and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
