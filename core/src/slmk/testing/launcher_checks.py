"""Checks of the promises that every launcher makes, one function per promise."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from slmk.run_directory import MANIFEST, RESOLVED
from slmk.spec import load
from slmk.testing.subject import Subject
from slmk.testing.toy_runs import toy_spec

__all__ = ["LAUNCHER_CHECKS", "check_launcher_passes_errors_on", "check_launcher_runs_every_job"]


def check_launcher_runs_every_job(subject: Subject) -> None:
    """Summaries come back in the order of the jobs, and every row of every session is passed on."""
    rows: list[Mapping[str, Any]] = []
    with _directory() as directory:
        jobs = [{"directory": str(directory), "seed": seed} for seed in (3, 1)]
        summaries = subject.target()(subject.config()).launch(jobs, rows.append)
        told = [summary["seed"] for summary in summaries]
        assert told == [3, 1], f"summaries of the seeds {told}, expected those of [3, 1] in this order"
        for seed in (3, 1):
            steps = [row["env_steps"] for row in rows if row["seed"] == seed and row["kind"] == "train"]
            assert steps == [16, 32, 48, 64], f"train rows of seed {seed} at {steps} env steps, expected 16, 32, 48, 64"


def check_launcher_passes_errors_on(subject: Subject) -> None:
    """A session that fails makes the launch fail."""
    with _directory(broken=True) as directory:
        try:
            subject.target()(subject.config()).launch([{"directory": str(directory), "seed": 0}], lambda row: None)
        except Exception:
            return
    raise AssertionError("the session's environment raised an error, and launch returned as if nothing had happened")


@contextmanager
def _directory(**env: Any) -> Iterator[Path]:
    """A run directory in which no session has begun."""
    with TemporaryDirectory() as folder:
        directory = Path(folder)
        (directory / RESOLVED).write_text(load(toy_spec(**env)).resolved_toml(), encoding="utf-8")
        (directory / MANIFEST).write_text(json.dumps({"random_return": None}), encoding="utf-8")
        yield directory


LAUNCHER_CHECKS = (check_launcher_runs_every_job, check_launcher_passes_errors_on)
"""All of these checks."""
