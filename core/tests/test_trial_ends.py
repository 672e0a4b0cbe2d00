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
import slmk.session
from slmk import CheckpointError, PluginError, Problem, RunError, SpecError, trial
from slmk.builtin.jsonl import Jsonl
from slmk.cli import main
from slmk.locks import held
from slmk.session import Session
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
        build_env = slmk.session.build_env

        def fail(error, session=2):
            calls = iter(range(1, 9))

            def build(*arguments, **options):
                if next(calls) == session:
                    raise error
                return build_env(*arguments, **options)

            monkeypatch.setattr(slmk.session, "build_env", build)

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


SCOPES = """
from slmk import Component, ReporterConfig, hookimpl

class Options(ReporterConfig):
    pass

class Reporter:
    {line}

@hookimpl
def slmk_reporters():
    return [Component("theirs", Options, "{module}:Reporter", "s")]
"""


@pytest.mark.parametrize(("line", "scope"), [("pass", "None"), ("scope = 'session'", "'session'")])
def test_a_reporter_without_a_scope_is_told(line, scope, tmp_path):
    """One that belongs to neither session nor trial would never be built; the run is refused instead."""
    module = f"reporter_of_{line.split()[0]}"
    (tmp_path / f"{module}.py").write_text(SCOPES.format(line=line, module=module))
    spec = toy_spec()
    spec |= {"plugins": [*spec["plugins"], str(tmp_path / f"{module}.py")], "reporter": [{"name": "theirs"}]}
    with pytest.raises(PluginError, match=f"'theirs' has the scope {scope}, expected .* 'seed' or 'trial'"):
        trial.run(spec, out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


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

    def test_nor_after_a_signal_while_the_environments_are_closed(self, in_turn, tmp_path, monkeypatch):
        """Which may take seconds, when the summary is there already."""
        close, seeds = Session.close, []

        def slowly(self):
            if not seeds:
                signal.raise_signal(signal.SIGINT)
            seeds.append(self.seed)
            close(self)

        monkeypatch.setattr(Session, "close", slowly)
        assert trial.run(TWO, out=tmp_path).interrupted == signal.SIGINT
        assert seeds == [0]

    def test_a_trial_that_was_interrupted_has_not_reached_its_target(self, in_turn, ctrl_c, tmp_path):
        """Whatever the seed that is done has reached."""
        ctrl_c(0)
        spec = TWO | {"target": {"score": -1e9, "metric": "final_eval_return", "source": "by hand"}}
        summary = trial.run(spec, out=tmp_path).summary
        assert summary["scores"]["final_eval_return"]["mean"] is not None
        assert summary["target"]["reached"] is False

    def test_a_trial_that_is_done_was_not_interrupted(self, in_turn, ctrl_c, tmp_path):
        """After the last session there is nothing to resume."""
        ctrl_c(1)
        result = trial.run(TWO, out=tmp_path)
        assert result.interrupted is None
        assert len(result.summary["sessions"]) == 2


class TestLauncher:
    """What a launcher returns is not believed where the sessions' files say otherwise."""

    @pytest.fixture
    def launcher(self, monkeypatch):
        """The one called ``local`` runs so many of its jobs, and makes of their summaries what it returns."""

        def of(sessions, returned):
            def launch(self, jobs, on_row):
                return returned(list(slmk.builtin.local._in_turn(jobs[:sessions], on_row)))

            monkeypatch.setattr(slmk.builtin.local.Local, "launch", launch)

        return of

    @pytest.mark.parametrize("returned", [list, lambda done: None, lambda done: 7, lambda done: [None] * 3])
    def test_one_that_ends_too_early_is_told(self, returned, launcher, tmp_path):
        """The seeds that are left are named, no target is judged, and a resume goes on with them."""
        launcher(1, returned)
        with pytest.raises(RunError, match=r"'local' ended before .* \(left: seed 1, seed 2\); `slmk resume .*toy"):
            trial.run(toy_spec(seeds=3), out=tmp_path)
        directory = only_run(tmp_path)
        assert not (directory / "summary.json").exists()
        launcher(3, list)
        assert len(trial.resume(directory).summary["sessions"]) == 3

    def test_what_it_returns_does_not_matter_when_all_is_done(self, launcher, tmp_path):
        """Every session has its summary in a file."""
        launcher(3, lambda done: None)
        result = trial.run(toy_spec(seeds=3), out=tmp_path)
        assert (len(result.summary["sessions"]), result.interrupted) == (3, None)


HOLDER = """
import os, sys, time
from pathlib import Path

from slmk.locks import held

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

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no such locks")
    def test_reading_the_file_does_not_open_the_lock(self, tmp_path):
        """As something does that copies the whole directory; and one process does not hold it twice."""
        with held(tmp_path):
            (tmp_path / ".lock").read_bytes()
            with pytest.raises(RunError, match=f"in use by process {os.getpid()} on "), held(tmp_path):
                pass
            code = (
                "import sys; from pathlib import Path; from slmk.locks import held; held(Path(sys.argv[1])).__enter__()"
            )
            done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
            assert f"in use by process {os.getpid()} on " in done.stderr
        with held(tmp_path):
            pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no such locks")
def test_children_keep_their_own_files(tmp_path):
    """A child lets go of the lock once; what gets its number there is not closed in a grandchild."""
    code = """
import os, sys
from pathlib import Path
from slmk.locks import held
with held(Path(sys.argv[1])):
    if os.fork() == 0:
        read, write = os.pipe()
        if os.fork() == 0:
            os.write(write, b"there")
            os._exit(0)
        print(os.read(read, 9).decode(), flush=True)
        os._exit(0)
    os.wait()
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.returncode) == ("there\n", 0), done.stderr


@pytest.mark.parametrize("part", ["build_agent", "build_memory"])
def test_an_environment_without_an_owner_is_closed(part, monkeypatch):
    """Where another part cannot be built: some simulators are there once in a process."""
    closed, build = [], slmk.session.build_env

    def watched(*arguments, **options):
        env = build(*arguments, **options)
        env.close = lambda: closed.append(env)
        return env

    def refuse(*arguments, **options):
        raise SpecError([Problem("it does not fit")])

    monkeypatch.setattr(slmk.session, "build_env", watched)
    monkeypatch.setattr(slmk.session, part, refuse)
    with pytest.raises(SpecError, match="does not fit"):
        Session(slmk.load(toy_spec()), 0)
    assert len(closed) == 1


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
    run = Session(slmk.load(toy_spec()), 0)
    run.env.info = replace(run.env.info, exact_state=exact)
    with capture_logs() as logs:
        run.load_state_dict(run.state_dict())
    assert [entry["event"].split(":")[0] for entry in logs] == events
