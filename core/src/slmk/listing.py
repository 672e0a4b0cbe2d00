"""The table of runs under a directory (`slmk list`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from slmk.component import env_title
from slmk.files import read_json
from slmk.metrics import headline
from slmk.run_directory import MANIFEST, RESOLVED, SUMMARY

__all__ = ["HEADER", "find_runs", "rows"]

HEADER = ("created", "env", "algorithm", "seeds", "state", "score", "run")


def find_runs(out: Path) -> Iterator[tuple[Path, dict[str, Any], dict[str, Any] | None]]:
    """Every run under `out` as (directory, manifest, summary or None), oldest first."""
    found = []
    for path in out.rglob(MANIFEST):
        if not path.with_name(RESOLVED).exists():  # A foreign file of that name.
            continue
        summary = path.with_name(SUMMARY)
        try:
            found.append((path.parent, read_json(path), read_json(summary) if summary.exists() else None))
        except (OSError, ValueError):  # A run that is being written.
            continue
    return iter(sorted(found, key=lambda run: str(run[1].get("created"))))


def rows(out: Path) -> list[tuple[str, ...]]:
    """A row of words for each run: created, env, algorithm, seeds, state, score, directory."""
    return [
        (
            str(manifest.get("created", ""))[:16].replace("T", " "),
            env_title(manifest.get("env", {})),
            str(manifest.get("algorithm", "")),
            str(len(manifest.get("seeds", []))),
            _state(manifest, summary),
            _score(summary),
            str(directory),
        )
        for directory, manifest, summary in find_runs(out)
    ]


def _state(manifest: dict[str, Any], summary: dict[str, Any] | None) -> str:
    if summary is None:
        return "unfinished"
    sessions = summary.get("sessions", [])
    done = sum((s.get("env_steps") or 0) >= manifest.get("env_steps", 0) for s in sessions)
    return "done" if done == len(manifest.get("seeds", [])) else f"{done} of {len(manifest.get('seeds', []))} done"


def _score(summary: dict[str, Any] | None) -> str:
    score = headline(summary) if summary and "scores" in summary else {"mean": None}
    if score["mean"] is None:
        return ""
    spread = "" if score.get("std") is None else f" ± {score['std']:.1f}"
    return f"{score['mean']:.1f}{spread}"
