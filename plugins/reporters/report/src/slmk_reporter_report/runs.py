"""A run directory as values: what the page shows, read once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli

from slmk import RunError
from slmk.builtin.jsonl import read_rows
from slmk.component import env_title
from slmk.files import read_json
from slmk.metrics import session_summary, trial_summary
from slmk.run_directory import MANIFEST, METRICS, RESOLVED, SPEC, SUMMARY, session_directory
from slmk.toolbox.tables import flattened

__all__ = ["Row", "RunData", "differences", "labels", "read_run"]

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RunData:
    """One trial, finished or not."""

    id: str
    """Name of the run directory."""
    manifest: Mapping[str, Any]
    summary: Mapping[str, Any]
    """Content of ``summary.json``, or what it would be by now."""
    rows: Mapping[int, Sequence[Row]]
    """Rows of ``metrics.jsonl`` by seed; empty for a seed that has not begun."""
    spec: str
    """``spec.toml`` as it was written."""
    resolved: str
    """``resolved.toml``: every value and where it came from."""

    @property
    def name(self) -> str:
        """Name of the spec."""
        return str(self.manifest["name"])

    @property
    def env(self) -> str:
        """The environment's id, or its backend's name where it has no ids."""
        return env_title(self.manifest.get("env") or {})

    @property
    def progress(self) -> float:
        """Share of the budget that all seeds together have used, in [0, 1]."""
        budget = self.manifest["env_steps"]
        used = [min(budget, rows[-1]["env_steps"]) if rows else 0 for rows in self.rows.values()]
        return sum(used) / (budget * len(used)) if used else 0.0


def read_run(directory: Path) -> RunData:
    """Read a run directory.

    Raises:
        RunError: it is not one.
    """
    if not (directory / MANIFEST).is_file():
        raise RunError(f"{directory} is not a run directory: it has no {MANIFEST}")
    manifest = read_json(directory / MANIFEST)
    rows = {seed: read_rows(session_directory(directory, seed) / METRICS) for seed in manifest["seeds"]}
    return RunData(
        id=directory.resolve().name,
        manifest=manifest,
        summary=_stored_summary(directory, rows) or _summarise(manifest, rows),
        rows=rows,
        spec=_read_text(directory / SPEC),
        resolved=_read_text(directory / RESOLVED),
    )


def labels(runs: Sequence[RunData]) -> list[str]:
    """A name for each run that tells it from the others: that of its spec, with its id where specs are the same."""
    count = Counter(run.name for run in runs)
    return [run.name if count[run.name] == 1 else f"{run.name} · {run.id}" for run in runs]


def differences(runs: Sequence[RunData]) -> list[tuple[str, list[Any]]]:
    """Keys of the resolved specs that have not the same value in all runs, each with the values (None: not there)."""
    specs = [flattened(tomli.loads(run.resolved)) for run in runs]
    keys = dict.fromkeys(key for spec in specs for key in spec)
    values = [(key, [spec.get(key) for spec in specs]) for key in keys]
    return [(key, row) for key, row in values if any(value != row[0] for value in row)]


def _stored_summary(directory: Path, rows: Mapping[int, Sequence[Row]]) -> dict[str, Any] | None:
    """``summary.json``, unless a session went on after it was written."""
    if not (directory / SUMMARY).is_file():
        return None
    summary: dict[str, Any] = read_json(directory / SUMMARY)
    summarised = {session["seed"]: session["env_steps"] for session in summary["sessions"]}
    return summary if summarised == {seed: curve[-1]["env_steps"] for seed, curve in rows.items() if curve} else None


def _summarise(manifest: Mapping[str, Any], rows: Mapping[int, Sequence[Row]]) -> dict[str, Any]:
    """The summary of a run that is still going on, or was interrupted before it could write one."""
    begun = {seed: curve for seed, curve in rows.items() if curve}
    random_return = manifest.get("random_return")
    sessions = [session_summary(curve, random_return) for curve in begun.values()]
    curves, target = list(begun.values()), manifest.get("target")
    return trial_summary(manifest["name"], sessions, curves, random_return, target, seeds=len(manifest["seeds"]))


def _read_text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""
