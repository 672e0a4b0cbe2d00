"""The reporter ``console``: what it knows of sessions, what it says in a pipe, after an error and after a resume."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path

import pytest
from rich.console import Console as Screen

from slmk import RunError
from slmk.builtin import ConsoleConfig
from slmk.builtin.console import Console
from slmk.builtin.display import compact, duration, number, panel
from slmk.builtin.progress import WINDOW, Progress
from slmk.testing.toy_runs import toy_spec
from slmk.trial import run as run_trial

MANIFEST = {
    "name": "toy [draft]",
    "algorithm": "ppo",
    "env": {"name": "gymnasium", "id": "CartPole-v1", "num_envs": 8},
    "seeds": [0, 1],
    "env_steps": 10_000,
    "target": {"score": 475.0, "metric": "final_return_ma", "source": "the café's own threshold"},
}


def train_row(env_steps, mean, seed=0):
    return {"kind": "train", "seed": seed, "env_steps": env_steps, "episode/return_ma": mean}


def eval_row(env_steps, mean, seed=0):
    metrics = {"eval/return_mean": mean, "eval/return_std": 12.5, "eval/episodes": 10}
    return {"kind": "eval", "seed": seed, "env_steps": env_steps, **metrics}


def progress_row(env_steps, seed=0):
    return {"kind": "progress", "seed": seed, "env_steps": env_steps}


def trial_summary(values, reached=True):
    score = {"values": values, "mean": 480.0, "std": 5.25, "iqm": 481.5, "ci95": [476.0, 485.5]}
    target = {**MANIFEST["target"], "value": 480.0, "reached": reached}
    sessions = [{}] * len(values)
    return {"scores": {"final_return_ma": score}, "sessions": sessions, "env_steps": 2000, "target": target}


def session(*rows_at):
    """A session of 10,000 steps that got each row at its time."""
    progress = Progress(0, 10_000)
    for row, now in rows_at:
        progress.add(row, now)
    return progress


def test_speed_and_time_left_by_hand():
    """2,000 steps in 4 s are 500 per second, so that the other 7,000 take 14 s."""
    s = session((progress_row(1000), 100.0), (train_row(2000, 20.0), 102.0), (progress_row(3000), 104.0))
    assert s.speed == 500.0
    assert s.seconds_left == 14.0
    assert s.share == 0.3


def test_nothing_is_known_of_the_speed_before_two_moments():
    """One row says where a session is, not how fast it goes; nor do two at the same time."""
    assert session((train_row(1000, 20.0), 5.0)).speed is None
    assert session((train_row(1000, 20.0), 5.0), (eval_row(1000, 20.0), 5.0)).seconds_left is None


def test_speed_is_that_of_a_resumed_session_alone():
    """Rows of an earlier process move the bar and the scores, but the speed counts from the first new row."""
    s = Progress(0, 10_000)
    s.recall([train_row(4000, 30.0), train_row(5000, 20.0), eval_row(5000, 44.0)])
    assert (s.env_steps, s.best, s.return_ma, s.evaluation) == (5000, 30.0, 20.0, 44.0)
    assert s.speed is None
    assert not s.heard
    s.add(progress_row(4500), 1000.0)
    s.add(progress_row(4600), 1001.0)
    assert s.speed == 100.0


def test_speed_forgets_what_is_older_than_the_window():
    """After a slow start of 10 steps per second and one window at 100, the speed is 100."""
    s = session((progress_row(0), 0.0), (progress_row(1000), 100.0))
    assert s.speed == 10.0
    for second in range(1, int(WINDOW) + 1):
        s.add(progress_row(1000 + 100 * second), 100.0 + second)
    assert s.speed == 100.0


def test_rows_rarer_than_the_window_still_give_a_speed():
    """The last two rows count however far apart they are: 4,000 steps in 80 s."""
    s = session((progress_row(0), 0.0), (progress_row(1000), 100.0), (progress_row(5000), 180.0))
    assert s.speed == 50.0


def test_a_stalled_session_has_no_end():
    """At speed 0 the time left is unknown, rather than a division by 0."""
    s = session((progress_row(1000), 0.0), (progress_row(1000), 10.0))
    assert (s.speed, s.seconds_left) == (0.0, None)


def test_best_is_the_highest_average():
    """The best return is kept when the average falls, also below 0, and rows without episodes change nothing."""
    s = session((train_row(1, None), 0.0), (train_row(2, -5.0), 1.0), (train_row(3, -9.0), 2.0))
    assert (s.return_ma, s.best) == (-9.0, -5.0)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "–"),
        (0.0, "0.000"),
        (0.00042, "4.2e-04"),
        (0.5, "0.500"),
        (-1.234, "-1.23"),
        (21.5, "21.50"),
        (475.04, "475.0"),
        (-1234.5, "-1,234"),
        (1234567.0, "1,234,567"),
    ],
)
def test_number(value, words):
    """Scores show about four digits."""
    assert number(value) == words


def test_a_spread_has_the_decimals_of_its_mean():
    """5.25 beside a mean of 480 is 5.2, and 0 beside 1 is 0.00."""
    assert (number(5.25, 480.0), number(0.0, 1.0)) == ("5.2", "0.00")


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, "–"), (8.75, "8.8"), (4213.4, "4,213"), (14_230, "14.2k"), (142_300, "142k"), (1_254_000, "1.25M")],
)
def test_compact(value, words):
    """Speeds take at most six characters."""
    assert compact(value) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "–"), (0, "0:00"), (59.6, "1:00"), (3599, "59:59"), (3661, "1:01:01"), (200_000, "2d 7h")],
)
def test_duration(seconds, words):
    """Times left take at most eight characters."""
    assert duration(seconds) == words


@pytest.mark.parametrize(("width", "has"), [(60, set()), (76, {"best"}), (100, {"best", "steps"}), (160, {"best"})])
def test_panel_fits_any_width(width, has):
    """Each session takes one line with nothing cut off, and leaves room for an echoed ^C at its right."""
    sessions = [session((train_row(100, -12345.6), 0.0), (eval_row(9999, 987654.0), 0.01)) for _ in range(3)]
    screen = Screen(file=io.StringIO(), width=width)
    screen.print(panel(sessions, width))
    head, *lines = screen.file.getvalue().splitlines()
    assert len(lines) == 3
    assert max(len(line.rstrip()) for line in (head, *lines)) <= width - 4
    assert {"seed", "steps/s", "return", "eval", "left"} | has <= set(head.split())
    assert all("-12,346" in line and "987,654" in line and "990k" in line and "…" not in line for line in lines)


def test_the_bar_needs_no_colour():
    """Half a budget is half a heavy line; 0 and all of it have none and nothing else."""
    screen = Screen(file=io.StringIO(), width=80)
    for steps in (0, 5000, 10_000):
        screen.print(panel([session((progress_row(steps), 0.0))], 80))
    bars = [line.split()[1] for line in screen.file.getvalue().splitlines() if line.startswith("   0")]
    length = len(bars[0])
    assert bars[0] == "─" * length
    assert bars[1].rstrip("─") in ("━" * (length // 2), "━" * (length // 2) + "╸")
    assert bars[2] == "━" * length


def start(directory, **changes):
    console = Console(ConsoleConfig(interval=changes.pop("interval", 1000.0)), directory)
    console.start({**MANIFEST, **changes})
    return console


def test_a_pipe_gets_plain_lines(tmp_path, capsys):
    """Per seed: a first line, one each evaluation, one at the end of the budget; then scores, verdict and files."""
    console = start(tmp_path)
    for row in (train_row(500, 21.5), progress_row(900), train_row(1000, 23.0), eval_row(1000, 50.0)):
        console.report(row)
    for row in (train_row(2000, 7.0, seed=1), train_row(10_000, 480.0), progress_row(10_000)):
        console.report(row)
    console.report(train_row(10_000, 480.0, seed=1))
    console.finish(trial_summary([475.0, 485.0]))
    console.show_files([("report", tmp_path / "report.html")])
    console.close()
    lines = [re.sub(r" +\S+ steps/s", "", line).rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[:9] == [
        "toy [draft]: ppo on 8 × CartPole-v1, 2 seeds of 10,000 env steps, target final_return_ma ≥ 475",
        f"run directory: {tmp_path}",
        "seed 0     500 steps   5 %  return 21.50  best 21.50",
        "seed 0   1,000 steps  10 %  evaluation 50.00 ± 12.50 over 10 episodes",
        "seed 1   2,000 steps  20 %  return 7.00  best 7.00",
        "seed 0  10,000 steps 100 %  return 480.0  best 480.0  done",
        "seed 1  10,000 steps 100 %  return 480.0  best 480.0  done",
        "",
        "2 seeds           mean ± std    IQM  95 % interval",
    ]
    assert lines[9:13] == [
        "final_return_ma  480.0 ± 5.2  481.5  476.0 … 485.5",
        "",
        "✓ target reached  final_return_ma: 480.0 ≥ 475",
        "  the café's own threshold",
    ]
    assert lines[13].startswith("time    0:0")
    assert lines[14:] == [f"run     {tmp_path}", f"report  {tmp_path / 'report.html'}"]


def test_interval_decides_how_many_lines(tmp_path, capsys):
    """With a short interval each row gives a line, with a long one only the first."""
    for interval, count in ((1e-9, 4), (1000.0, 1)):
        console = start(tmp_path, interval=interval)
        for steps in (100, 200, 300, 400):
            console.report(progress_row(steps))
        assert capsys.readouterr().out.count("seed 0 ") == count


def test_one_seed_has_a_score_and_no_spread(tmp_path, capsys):
    """Of one seed there is neither a deviation nor an interval; an interrupted one is called unfinished."""
    console = start(tmp_path, seeds=[7])
    console.report(train_row(400, 21.5, seed=7))
    console.finish(trial_summary([480.0], reached=False))
    out = capsys.readouterr().out
    assert "±" not in out
    assert "interval" not in out
    assert "unfinished: seed 7 at 400 of 10,000 env steps" in out
    assert "✗ target not reached yet" in out


def test_a_target_without_a_score_of_every_seed_says_so(tmp_path, capsys):
    """There is no number to compare then."""
    summary = trial_summary([480.0, None], reached=False)
    summary["target"]["value"] = None
    start(tmp_path).finish(summary)
    assert "final_return_ma: not every seed has one\n" in capsys.readouterr().out


def test_a_run_shorter_than_its_target_s_says_so(tmp_path, capsys):
    """Who misses the score of a longer run is told how much longer that was."""
    summary = trial_summary([475.0, 485.0], reached=False)
    summary["target"]["env_steps"] = 10_000
    start(tmp_path).finish(summary)
    target = summary["target"]
    expected = f"{target['metric']}: 480.0 < {target['score']:g} after 2,000 of 10,000 env steps"
    assert expected in capsys.readouterr().out


def test_a_stdout_without_unicode_is_no_obstacle(tmp_path, monkeypatch):
    """On an ASCII stream marks are spelled out, and unknown characters become question marks."""
    stdout = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stdout)
    console = start(tmp_path)
    console.finish(trial_summary([475.0, 485.0]))
    stdout.flush()
    out = stdout.buffer.getvalue().decode("ascii")
    assert "OK: target reached  final_return_ma: 480.0 >= 475" in out
    assert "the caf?'s own threshold" in out


def test_a_resumed_trial_knows_what_was_done(tmp_path, capsys):
    """A seed that was finished before the resume and never reports again does not count as unfinished."""
    (tmp_path / "seed-0").mkdir()
    (tmp_path / "seed-0" / "metrics.jsonl").write_text(json.dumps(train_row(10_000, 480.0)) + "\n")
    console = start(tmp_path)
    console.report(train_row(10_000, 480.0, seed=1))
    console.finish(trial_summary([475.0, 485.0]))
    assert "unfinished" not in capsys.readouterr().out


BREAKS = '''
from slmk import Component, LauncherConfig, ReporterConfig, RunError, hookimpl


class Config(LauncherConfig):
    """None."""


class KeeperConfig(ReporterConfig):
    """None."""


class Launcher:
    def __init__(self, config):
        pass

    def launch(self, jobs, on_row):
        on_row({"kind": "train", "seed": 0, "env_steps": 10})
        raise RunError("it broke")


class Keeper:
    scope = "trial"

    def __init__(self, config, directory):
        self.directory = directory

    def start(self, run):
        pass

    def report(self, row):
        raise ValueError("cannot report")

    def close(self):
        (self.directory / "closed").touch()


@hookimpl
def slmk_launchers():
    return [Component("breaks", Config, "breaks:Launcher", "fails")]


@hookimpl
def slmk_reporters():
    return [Component("keeper", KeeperConfig, "breaks:Keeper", "has something to give back")]
'''


def test_reporters_are_closed_when_a_run_fails(tmp_path, capsys):
    """The error passes on; the console has no scores to show, and a reporter that was switched off is closed too."""
    toy = Path(__file__).with_name("toy_plugin.py")
    (tmp_path / "breaks.py").write_text(BREAKS)
    spec = Path(__file__).with_name("toy.toml").read_text()
    spec = spec.replace('["toy_plugin.py"]', f'["{toy}", "breaks.py"]').replace('[launcher]\nname = "toy"', "")
    spec = spec.replace('[[reporter]]\nname = "toy"', '[[reporter]]\nname = "keeper"\n[launcher]\nname = "breaks"')
    (tmp_path / "toy.toml").write_text(spec)
    with pytest.raises(RunError, match="it broke"):
        run_trial(tmp_path / "toy.toml", out=tmp_path / "runs")
    assert len(list(tmp_path.glob("runs/toy/*/closed"))) == 1
    assert "time " not in capsys.readouterr().out


LEAVES = '''
from slmk import Component, ReporterConfig, hookimpl


class PageConfig(ReporterConfig):
    """None."""


class Page:
    scope = "trial"

    def __init__(self, config, directory):
        self.directory = directory

    def start(self, run):
        pass

    def report(self, row):
        pass

    def finish(self, summary):
        return self.directory / "a.page"


class Seven(Page):
    def finish(self, summary):
        return 7


@hookimpl
def slmk_reporters():
    names = ("pages", "Page"), ("seven", "Seven")
    return [Component(name, PageConfig, f"leaves:{target}", "leaves something") for name, target in names]
'''


def test_what_reporters_leave_is_shown(tmp_path, capsys):
    """Under their names, whatever comes first in the spec; one that leaves what is no path is switched off."""
    (tmp_path / "leaves.py").write_text(LEAVES)
    spec = toy_spec()
    names = ("pages", "seven", "console", "jsonl")
    spec |= {"plugins": [*spec["plugins"], str(tmp_path / "leaves.py")], "reporter": [{"name": name} for name in names]}
    directory = run_trial(spec, out=tmp_path / "runs").directory
    out, log = capsys.readouterr()
    assert out.splitlines()[-2:] == [f"run    {directory}", f"pages  {directory / 'a.page'}"]
    assert "reporter switched off" in out + log
    assert "seven" in out + log
