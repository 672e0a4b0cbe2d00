"""What a trial leaves where it is stopped, refused or fails half-way, and what a resume makes of it."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

import slmk.builtin.local
import slmk.run
from slmk import CheckpointError, PluginError, Problem, RunError, SpecError, trial
from slmk.builtin.jsonl import Jsonl
from slmk.cli import main
from slmk.run import Run
from slmk.testing.run_files import run_difference
from slmk.testing.toy_runs import make_run_directory, toy_spec

TWO = toy_spec(seeds=2)


@pytest.fixture
def in_turn(monkeypatch):
    """Sessions of several seeds run in this process, as they do in a world."""
    local = slmk.builtin.local
    monkeypatch.setattr(local.Local, "launch", lambda self, jobs, on_row: list(local._in_turn(jobs, on_row)))


def only_run(out: Path) -> Path:
    (directory,) = out.glob("*/*")
    return directory


class TestRefused:
    """A part that cannot be built is found when its session begins."""

    @pytest.fixture
    def second_fails(self, in_turn, monkeypatch):
        """The environment of the second session, or of another one, raises this error."""
        build_env = slmk.run.build_env

        def fail(error, session=2):
            calls = iter(range(1, 9))

            def build(*arguments, **options):
                if next(calls) == session:
                    raise error
                return build_env(*arguments, **options)

            monkeypatch.setattr(slmk.run, "build_env", build)

        return fail

    @pytest.mark.parametrize("error", [SpecError([Problem("no room for 4,096 environments")]), PluginError("gone")])
    def test_what_was_trained_stays(self, error, second_fails, tmp_path, monkeypatch):
        """The first session is done; when there is room again, the second one follows."""
        straight = make_run_directory(tmp_path / "straight", TWO)
        second_fails(error)
        with pytest.raises(type(error)):
            make_run_directory(tmp_path / "refused", TWO)
        directory = only_run(tmp_path / "refused")
        assert (directory / "seed-0" / "summary.json").exists()
        monkeypatch.undo()
        trial.resume(directory)
        assert run_difference(straight, directory) is None

    @pytest.mark.parametrize("error", [SpecError([Problem("no such environment")]), PluginError("gone")])
    def test_before_any_session_nothing_is_left(self, error, second_fails, tmp_path):
        """Nor is there a profile of what did not begin. That the directory is gone is said."""
        second_fails(error, session=1)
        with capture_logs() as logs, pytest.raises(type(error)):
            trial.run(TWO, out=tmp_path / "runs", profile=True)
        assert not (tmp_path / "runs").exists()
        assert "removed again" in logs[-1]["event"]


class TestSignalAtTheEnd:
    """Ctrl-C when a session is at its last evaluation, so that it ends as it would have without."""

    @pytest.fixture
    def ctrl_c(self, monkeypatch):
        """It comes after the last row of a seed."""

        def at_the_end_of(seed):
            report = Jsonl.report

            def signalled(self, row):
                report(self, row)
                if (row["kind"], row["seed"], row["env_steps"]) == ("eval", seed, 64):
                    signal.raise_signal(signal.SIGINT)

            monkeypatch.setattr(Jsonl, "report", signalled)

        return at_the_end_of

    def test_the_next_session_does_not_begin(self, in_turn, ctrl_c, tmp_path, monkeypatch):
        """The trial was interrupted, and is resumed with the session that is missing."""
        straight = make_run_directory(tmp_path / "straight", TWO)
        ctrl_c(0)
        result = trial.run(TWO, out=tmp_path / "stopped")
        assert result.interrupted == signal.SIGINT
        assert [path.name for path in result.directory.glob("seed-*")] == ["seed-0"]
        monkeypatch.undo()
        assert trial.resume(result.directory).interrupted is None
        assert run_difference(straight, result.directory) is None

    def test_a_trial_that_is_done_was_not_interrupted(self, in_turn, ctrl_c, tmp_path):
        """After the last session there is nothing to resume."""
        ctrl_c(1)
        result = trial.run(TWO, out=tmp_path)
        assert result.interrupted is None
        assert len(result.summary["sessions"]) == 2


HOLDER = """
import os, sys, time
from pathlib import Path

from slmk.files import held

with held(Path(sys.argv[1])):
    child = os.fork()
    if child:
        print(child, flush=True)
    time.sleep(300)
"""


class TestHeld:
    """One process at a time trains a session."""

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no such locks")
    @pytest.mark.parametrize("place", [".", "seed-0"])
    def test_a_run_that_is_trained_is_not_resumed(self, place, tmp_path):
        """The process is named. When it is killed, the lock is gone, though a process that it has forked lives on."""
        directory = make_run_directory(tmp_path)
        (directory / "seed-0" / "summary.json").unlink()
        rows = (directory / "seed-0" / "metrics.jsonl").stat()
        command = [sys.executable, "-c", HOLDER, str(directory / place)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
            child = int(holder.stdout.readline())
            try:
                with pytest.raises(RunError, match=f"in use by process {holder.pid} on "):
                    trial.resume(directory)
                assert (directory / "seed-0" / "metrics.jsonl").stat() == rows
                holder.kill()
                holder.wait()
                assert len(trial.resume(directory).summary["sessions"]) == 1
            finally:
                holder.kill()
                os.kill(child, signal.SIGKILL)


def test_half_a_run_directory_cannot_be_resumed(tmp_path):
    """A crash may have come before the manifest was written."""
    directory = make_run_directory(tmp_path)
    (directory / "manifest.json").unlink()
    with pytest.raises(CheckpointError, match=r"not a run directory: it has no manifest\.json"):
        trial.resume(directory)


def test_foreign_files_are_no_runs(tmp_path, capsys):
    """`slmk list` takes only what looks like a run's manifest."""
    directory = make_run_directory(tmp_path)
    for name, content in (("list", []), ("page", {"name": "a page", "icons": []}), ("words", "x")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_text(json.dumps(content))
    assert main(["list", "--out", str(tmp_path)]) == 0
    _, *rows = capsys.readouterr().out.splitlines()
    assert [row.split()[-1] for row in rows] == [str(directory)]


@pytest.mark.parametrize(("exact", "events"), [(True, []), (False, ["running episodes start again"])])
def test_the_log_says_where_episodes_start_again(exact, events):
    """On a resume where the state of the environments cannot be restored, and there alone."""
    run = Run(slmk.load(toy_spec()), 0)
    run.env.info = replace(run.env.info, exact_state=exact)
    with capture_logs() as logs:
        run.load_state_dict(run.state_dict())
    assert [entry["event"].split(":")[0] for entry in logs] == events
