"""What runs have written, as values to compare: metrics but for wall time, and the newest checkpoints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from slmk.run_directory import CHECKPOINTS, METRICS
from slmk.testing.compare import first_difference

__all__ = ["newest_state", "rows", "run_difference"]


def rows(session: Path) -> list[dict[str, Any]]:
    """The rows of a session's ``metrics.jsonl``, without what depends on the clock."""
    lines = (session / METRICS).read_text(encoding="utf-8").splitlines()
    return [{name: x for name, x in json.loads(line).items() if not name.startswith("time/")} for line in lines]


def newest_state(session: Path) -> dict[str, Tensor]:
    """The tensors of a session's newest checkpoint, by name."""
    return load_file(max((session / CHECKPOINTS).glob("[0-9]*")) / "state.safetensors")


def run_difference(one: Path, other: Path) -> str | None:
    """The first place where two runs, or two sessions, differ in a metric or a bit of a checkpoint, or None."""
    return first_difference(_content(one), _content(other))


def _content(directory: Path) -> dict[str, Any]:
    """By session; of a world the first process writes the metrics, and each its own checkpoints."""
    sessions = [path.parent for path in directory.rglob(CHECKPOINTS)]
    return {
        str(session.relative_to(directory)): {
            "rows": rows(session) if (session / METRICS).exists() else [],
            "state": newest_state(session),
        }
        for session in sessions
    }
