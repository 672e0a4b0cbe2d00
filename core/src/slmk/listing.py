"""The table of runs under a directory (`slmk list`)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["find_runs", "print_runs"]


def find_runs(out: Path) -> Iterator[tuple[Path, dict[str, Any], dict[str, Any] | None]]:
    """Every run under `out` as (directory, manifest, summary or None), oldest first."""
    found = []
    for path in out.rglob("manifest.json"):
        summary = path.with_name("summary.json")
        try:
            manifest = json.loads(path.read_text())
            found.append((path.parent, manifest, json.loads(summary.read_text()) if summary.exists() else None))
        except (OSError, ValueError):  # A run that is being written, or a foreign file of that name.
            continue
    return iter(sorted(found, key=lambda run: str(run[1].get("created"))))


def print_runs(out: Path) -> None:
    """Print the runs under `out`: when, where, seeds, state and final return."""
    from rich.console import Console
    from rich.table import Table

    table = Table("created", "run", "env", "algorithm", "seeds", "state", "final return")
    for directory, manifest, summary in find_runs(out):
        env = manifest.get("env", {})
        table.add_row(
            str(manifest.get("created", ""))[:16].replace("T", " "),
            str(directory),
            str(env.get("id", env.get("name", ""))),
            str(manifest.get("algorithm", "")),
            str(len(manifest.get("seeds", []))),
            _state(manifest, summary),
            _score(summary),
        )
    console = Console()
    if table.row_count:
        console.print(table)
    else:
        console.print(f"no runs under {out}")


def _state(manifest: dict[str, Any], summary: dict[str, Any] | None) -> str:
    if summary is None:
        return "unfinished"
    sessions = summary.get("sessions", [])
    done = sum((s.get("env_steps") or 0) >= manifest.get("env_steps", 0) for s in sessions)
    return "done" if done == len(manifest.get("seeds", [])) else f"{done} of {len(manifest.get('seeds', []))} done"


def _score(summary: dict[str, Any] | None) -> str:
    score = (summary or {}).get("scores", {}).get("final_return_ma") or {}
    if score.get("mean") is None:
        return ""
    return f"{score['mean']:.1f} ± {score.get('std') or 0.0:.1f}"
