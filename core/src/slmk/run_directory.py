"""What the files and folders of a run directory are called."""

from __future__ import annotations

from pathlib import Path
from typing import Final

__all__ = [
    "CHECKPOINTS",
    "MANIFEST",
    "METRICS",
    "RESOLVED",
    "SESSIONS",
    "SPEC",
    "SUMMARY",
    "resolved_spec",
    "session_directory",
]

SPEC: Final = "spec.toml"
"""The spec as it was read."""
RESOLVED: Final = "resolved.toml"
"""The spec with every value and where it came from: what makes a directory that of a run."""
MANIFEST: Final = "manifest.json"
"""The command, code and machine by which the run was made, with its seeds and its budget."""
SUMMARY: Final = "summary.json"
"""Scores: those of the trial in the run directory, those of one session in the session's."""
METRICS: Final = "metrics.jsonl"
"""Every row that a session reported, in the session's directory; `slmk.builtin.jsonl.read_rows` reads it."""
CHECKPOINTS: Final = "checkpoints"
"""The folder of checkpoints, in the session's directory."""
SESSIONS: Final = "seed-*"
"""The pattern of names of sessions' directories."""


def session_directory(run: Path, seed: int) -> Path:
    """The directory of a session in that of its run."""
    return run / SESSIONS.replace("*", str(seed))


def resolved_spec(path: Path) -> Path | None:
    """The ``resolved.toml`` of the run to which a folder belongs: a run, a seed, or a checkpoint; None without one."""
    files = (folder / RESOLVED for folder in (path, *path.absolute().parents))
    return next((file for file in files if file.is_file()), None)
