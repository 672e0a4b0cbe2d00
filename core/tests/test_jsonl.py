"""The file of rows, also after a crash in the middle of a line."""

import errno
import json
from pathlib import Path

import pytest

from slmk import RunError, trial
from slmk.builtin import JsonlConfig, jsonl
from slmk.builtin.jsonl import Jsonl, read_rows
from slmk.testing.run_files import run_difference
from slmk.testing.toy_runs import make_run_directory


def train(env_steps, **metrics):
    return {"kind": "train", "seed": 0, "env_steps": env_steps, **metrics}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.jsonl"


def write(directory: Path, rows, resume_from=None) -> Jsonl:
    reporter = Jsonl(JsonlConfig(), directory)
    reporter.start({"seed": 0, "resume_from": resume_from})
    for row in rows:
        reporter.report(row)
    return reporter


def test_rows_come_back_as_they_went_in(tmp_path, path):
    """What is written is what is read, in order."""
    rows = [train(1, **{"loss/policy": -0.1}), {"kind": "eval", "seed": 0, "env_steps": 1, "eval/return_mean": 3.5}]
    write(tmp_path, rows).finish({})
    assert read_rows(path) == rows


def test_a_row_is_in_the_file_before_the_next_one(tmp_path, path):
    """A reader, or a crash, finds every row that was reported, though the file is still open."""
    reporter = write(tmp_path, [train(1)])
    assert read_rows(path) == [train(1)]
    reporter.finish({})


def test_what_is_not_finite_is_null(tmp_path, path):
    """NaN and infinities, which JSON does not have, become null; a strict parser reads the file."""
    write(tmp_path, [train(1, **{"loss/value": float("nan"), "loss/policy": float("-inf")})]).finish({})

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    row = json.loads(path.read_text(), parse_constant=refuse)
    assert row["loss/value"] is None
    assert row["loss/policy"] is None


def test_a_half_written_last_line_is_dropped(tmp_path, path):
    """After a crash in the middle of a line the rows before it are read."""
    write(tmp_path, [train(1), train(2)]).finish({})
    for cut in range(1, len(json.dumps(train(2))) + 1):
        path.write_text(json.dumps(train(1)) + "\n" + json.dumps(train(2))[:-cut])
        assert read_rows(path) == [train(1)]


def test_resuming_drops_what_came_after_the_checkpoint(tmp_path, path):
    """From a checkpoint at 20, rows at 10 and 20 stay, 30 and the half line go, and new rows follow on a line each."""
    write(tmp_path, [train(10), train(20), train(30)]).finish({})
    with path.open("a") as file:
        file.write('{"kind": "tra')
    write(tmp_path, [train(25)], resume_from=20).finish({})
    assert [row["env_steps"] for row in read_rows(path)] == [10, 20, 25]
    assert [entry.name for entry in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_resuming_before_the_first_checkpoint_starts_the_file_anew(tmp_path, path):
    """A run that was killed before its first checkpoint is resumed from 0, and keeps no row."""
    write(tmp_path, [train(10)]).finish({})
    write(tmp_path, [train(10)], resume_from=0).finish({})
    assert read_rows(path) == [train(10)]


def test_no_file_means_no_rows(path):
    """A run that has reported nothing has no rows, which is not an error."""
    assert read_rows(path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_row_that_cannot_be_written_is_an_error_with_the_name_of_the_file(tmp_path, path):
    """Nor does the file complain once more when it is closed."""
    path.symlink_to("/dev/full")
    reporter = write(tmp_path, [])
    with pytest.raises(RunError, match=r"cannot write .*metrics\.jsonl: No space left on device"):
        reporter.report(train(1))
    reporter.close()
    assert reporter._file.closed


def test_a_full_disk_ends_the_run_and_a_resume_loses_no_row(tmp_path, monkeypatch):
    """Rows are what summaries are made of: the run does not go on without them, as it does without other reporters."""
    straight = make_run_directory(tmp_path / "straight")
    line, rows = jsonl._line, iter(range(3))

    def until_full(row):
        if next(rows, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device")
        return line(row)

    monkeypatch.setattr(jsonl, "_line", until_full)
    with pytest.raises(RunError, match=r"cannot write .*metrics\.jsonl: No space left on device"):
        make_run_directory(tmp_path / "full")
    monkeypatch.undo()
    (directory,) = (tmp_path / "full").glob("*/*")
    assert not (directory / "summary.json").exists()
    trial.resume(directory)
    assert run_difference(straight, directory) is None
