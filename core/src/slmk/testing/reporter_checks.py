"""Checks of the promises that every reporter makes, one function per promise."""

from __future__ import annotations

import atexit
import io
import json
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager, redirect_stdout
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from slmk.builtin.jsonl import read_rows
from slmk.run_directory import MANIFEST, METRICS, SUMMARY, session_directory
from slmk.testing.compare import first_difference
from slmk.testing.file_writes import writes_outside
from slmk.testing.subject import Subject
from slmk.testing.toy_runs import make_run_directory

__all__ = [
    "REPORTER_CHECKS",
    "check_reporter_gaps",
    "check_reporter_leaves_rows_alone",
    "check_reporter_life",
    "check_reporter_nothing_to_report",
    "check_reporter_resume",
    "check_reporter_scope",
    "check_reporter_stays_in_directory",
]

Rows = Sequence[Mapping[str, Any]]


def check_reporter_scope(subject: Subject) -> str:
    """`scope` says whether it belongs to a session or to the trial, before it is built."""
    scope = getattr(subject.target(), "scope", None)
    assert scope in ("seed", "trial"), f"scope is {scope!r}, expected a class variable that is 'seed' or 'trial'"
    return str(scope)


def check_reporter_life(subject: Subject) -> None:
    """`start`, `report` for every kind of row, `finish` and `close` go through; what `finish` returns is there."""
    with _run_directory() as directory:
        left = _report(subject, directory, _rows(directory))
        assert left is None or Path(left).exists(), f"finish returns {left}, where nothing is"


def check_reporter_nothing_to_report(subject: Subject) -> None:
    """A run that was stopped before its first row is finished all the same."""
    with _run_directory() as directory:
        _report(subject, directory, [])


def check_reporter_gaps(subject: Subject) -> None:
    """Rows may lack metrics, have metrics nobody has seen before, and hold null, NaN, infinity or text."""
    with _run_directory() as directory:
        row = {"kind": "train", "seed": 0, "env_steps": 16}
        gaps = {"loss/policy": None, "loss/value": math.nan, "loss/new": math.inf, "episode/return_ma": None}
        rows = [row, {**row, **gaps}, {**row, "loss/policy": 1.0, "note/text": "none"}]
        empty = {"eval/return_mean": None, "eval/return_std": None, "eval/length_mean": None, "eval/episodes": 0}
        _report(subject, directory, [*rows, {"kind": "eval", "seed": 0, "env_steps": 16, **empty}])


def check_reporter_leaves_rows_alone(subject: Subject) -> None:
    """Rows are shared between reporters: none changes them."""
    with _run_directory() as directory:
        rows, same = _rows(directory), _rows(directory)
        _report(subject, directory, rows)
        changed = first_difference(rows, same)
        assert changed is None, f"the reporter changed its rows: {changed}"


def check_reporter_stays_in_directory(subject: Subject) -> None:
    """Nothing is written outside the directory it is given, whatever the working directory is."""
    with _run_directory() as directory, writes_outside(_place(subject, directory), directory.parent) as found:
        elsewhere = directory.parent / "elsewhere"
        elsewhere.mkdir()
        with chdir(elsewhere):
            _report(subject, directory, _rows(directory))
    found.remove(str(elsewhere))
    assert not found, f"it writes outside its directory: {', '.join(found)}"


def check_reporter_resume(subject: Subject) -> None:
    """A reporter that starts again where a run is resumed goes on, and none of its files shrinks."""
    with _run_directory() as directory:
        rows = _rows(directory)
        _report(subject, directory, _rows(directory))
        before = _sizes(directory)
        last = max(row["env_steps"] for row in rows)
        _report(subject, directory, [{**row, "env_steps": row["env_steps"] + last} for row in rows], resume_from=last)
        after = _sizes(directory)
    shrunk = [name for name, size in before.items() if after.get(name, -1) < size]
    assert not shrunk, f"on resume it deletes or shortens what it had written: {', '.join(shrunk)}"


@contextmanager
def _run_directory() -> Iterator[Path]:
    """The directory of a finished run of one seed, and nothing beside it."""
    with TemporaryDirectory() as folder:
        yield Path(shutil.copytree(_finished_run(), Path(folder).resolve() / "run"))


@cache
def _finished_run() -> Path:
    """One run for all checks; its folder goes with the process."""
    folder = TemporaryDirectory()
    atexit.register(folder.cleanup)
    return make_run_directory(Path(folder.name))


def _place(subject: Subject, directory: Path) -> Path:
    return session_directory(directory, 0) if subject.target().scope == "seed" else directory


def _report(subject: Subject, directory: Path, rows: Rows, resume_from: int | None = None) -> Any:
    """The life of a reporter, from building to closing. Returns what it left for people."""
    place = _place(subject, directory)
    of_session = {"seed": 0, "resume_from": resume_from} if place != directory else {}
    with redirect_stdout(io.StringIO()):
        reporter = subject.target()(subject.config(), place)
        reporter.start({**json.loads((directory / MANIFEST).read_text(encoding="utf-8")), **of_session})
        for row in rows:
            if row["kind"] != "progress" or place == directory:
                reporter.report(row)
        left = reporter.finish(json.loads((place / SUMMARY).read_text(encoding="utf-8")))
        if hasattr(reporter, "show_files"):
            reporter.show_files([] if left is None else [(subject.component.name, Path(left))])
        if hasattr(reporter, "close"):
            reporter.close()
    return left


def _rows(directory: Path) -> list[dict[str, Any]]:
    """What the run reported, and a progress row, which only reporters of a trial see."""
    return [*read_rows(session_directory(directory, 0) / METRICS), {"kind": "progress", "seed": 0, "env_steps": 64}]


def _sizes(directory: Path) -> dict[str, int]:
    return {str(path.relative_to(directory)): path.stat().st_size for path in directory.rglob("*") if path.is_file()}


REPORTER_CHECKS = (
    check_reporter_scope,
    check_reporter_life,
    check_reporter_nothing_to_report,
    check_reporter_gaps,
    check_reporter_leaves_rows_alone,
    check_reporter_stays_in_directory,
    check_reporter_resume,
)
"""All of these checks."""
