"""Sending states through the file format of checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from slmk.checkpoint import read_checkpoint, write_checkpoint
from slmk.state import moved

__all__ = ["through_a_file"]


def through_a_file(state: Mapping[str, Any], device: torch.device | str = "cpu") -> dict[str, Any]:
    """What a checkpoint gives back of a state: a tree that shares nothing with it."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint"
        write_checkpoint(path, state, {})
        return dict(moved(read_checkpoint(path)[0], torch.device(device)))
