"""The reporter ``console``: progress and scores for people, as a live panel on a terminal and as lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from slmk.builtin import ConsoleConfig
from slmk.builtin.jsonl import read_rows
from slmk.builtin.progress import Progress
from slmk.component import env_title
from slmk.run_directory import METRICS, session_directory

if TYPE_CHECKING:
    from rich.console import Console as Screen
    from rich.live import Live

__all__ = ["Console"]

REFRESHES: Final = 2
"""Drawings of the panel per second."""


class Console:
    """Shows every session of a trial. Rich is imported by `start`."""

    scope: ClassVar[Literal["seed", "trial"]] = "trial"

    def __init__(self, config: ConsoleConfig, directory: Path) -> None:
        self.config, self.directory = config, directory
        self._sessions: dict[int, Progress] = {}
        self._shown: dict[int, float] = {}
        self._live: Live | None = None

    def start(self, run: Mapping[str, Any]) -> None:
        """Say what begins, and open the panel if stdout is a terminal."""
        from slmk.builtin.display import open_console

        self._screen: Screen = open_console()
        self._started = monotonic()
        for seed in run["seeds"]:
            self._sessions[seed] = Progress(seed, run["env_steps"])
            self._sessions[seed].recall(read_rows(session_directory(self.directory, seed) / METRICS))
        self._say(_title(run), style="bold")
        self._say(f"run directory: {self.directory}", whole=True)
        if self._screen.is_terminal and self._screen.file.isatty() and not self._screen.is_dumb_terminal:
            self._open_panel()

    def report(self, row: Mapping[str, Any]) -> None:
        """Take a row in; without a panel, print a line for an evaluation, and otherwise now and then."""
        session = self._sessions[row["seed"]]
        session.add(row, monotonic())
        if self._live is not None:
            return
        if row["kind"] == "eval":
            self._say(_evaluation_line(session, row))
        elif self._is_due(session, row):
            self._say(_progress_line(session))

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Close the panel; print the scores and whether the target is reached."""
        from slmk.builtin.display import scores, verdict

        self._close_panel()
        width = self._screen.width
        unfinished = [session for session in self._sessions.values() if not session.finished]
        if any(score["mean"] is not None for score in summary["scores"].values()):
            self._screen.print("", scores(summary, width), "", sep="\n")
        if unfinished:
            self._say(_unfinished_line(unfinished), style="yellow")
        if summary["target"] is not None:
            self._screen.print(verdict(summary, complete=not unfinished))

    def show_files(self, files: Sequence[tuple[str, Path]]) -> None:
        """Say how long it took, and where the run directory and what reporters have left are."""
        from slmk.builtin.display import duration

        width = max(len(name) for name in ("time", "run", *(name for name, _ in files)))
        self._say(f"{'time':<{width}}  {duration(monotonic() - self._started)}")
        for name, path in (("run", self.directory), *files):
            self._say(f"{name:<{width}}  {path}", whole=True)

    def close(self) -> None:
        """Close the panel, also after an error."""
        self._close_panel()

    def _say(self, line: str, *, style: str | None = None, whole: bool = False) -> None:
        """Print a line, wrapped at words on a terminal, unless it is to stay `whole` as a path should."""
        self._screen.print(line, style=style, soft_wrap=whole or not self._screen.is_terminal)

    def _is_due(self, session: Progress, row: Mapping[str, Any]) -> bool:
        """Whether to print a line: the first, one each interval, and the last train row of the session."""
        now = monotonic()
        waited = now - self._shown.get(session.seed, -self.config.interval)
        due = row["kind"] == "train" if session.finished else waited >= self.config.interval
        if due:
            self._shown[session.seed] = now
        return due

    def _open_panel(self) -> None:
        from rich.live import Live

        self._live = Live(
            console=self._screen,
            get_renderable=self._panel,
            refresh_per_second=REFRESHES,
            # Lines printed meanwhile go above the panel; but those for a file stay there.
            redirect_stderr=sys.stderr.isatty(),
        )
        self._live.start()

    def _panel(self) -> Any:
        from slmk.builtin.display import panel

        return panel(list(self._sessions.values()), self._screen.width, running=self._live is not None)

    def _close_panel(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.stop()


def _title(run: Mapping[str, Any]) -> str:
    """What is run: ``ppo_cartpole: ppo on 8 × CartPole-v1, 4 seeds of 200,000 env steps``."""
    seeds = f"{len(run['seeds'])} seeds of " if len(run["seeds"]) > 1 else ""
    copies = f"{run['env']['num_envs']:,} × " if run["env"].get("num_envs", 1) > 1 else ""
    env = copies + env_title(run["env"])
    target = f", target {run['target']['metric']} ≥ {run['target']['score']:g}" if run["target"] else ""
    return f"{run['name']}: {run['algorithm']} on {env}, {seeds}{run['env_steps']:,} env steps{target}"


def _progress_line(session: Progress) -> str:
    """What is known by now: ``seed 0  12,288 steps  20 %   4,213 steps/s  return 100.9  best 101.2  0:12 left``."""
    from slmk.builtin.display import compact, duration, number

    facts = (
        (session.speed, f"{compact(session.speed):>6} steps/s"),
        (session.return_ma, f"return {number(session.return_ma)}  best {number(session.best)}"),
        (session.seconds_left, "done" if session.finished else f"{duration(session.seconds_left)} left"),
    )
    return "  ".join([_place(session), *(words for value, words in facts if value is not None)])


def _evaluation_line(session: Progress, row: Mapping[str, Any]) -> str:
    from slmk.builtin.display import number

    spread = f"{number(row['eval/return_mean'])} ± {number(row['eval/return_std'])}"
    return f"{_place(session)}  evaluation {spread} over {row['eval/episodes']} episodes"


def _place(session: Progress) -> str:
    steps = f"{session.env_steps:,}".rjust(len(f"{session.budget:,}"))
    return f"seed {session.seed}  {steps} steps {int(100 * session.share):>3} %"


def _unfinished_line(sessions: list[Progress]) -> str:
    places = ", ".join(f"seed {session.seed} at {session.env_steps:,}" for session in sessions)
    return f"unfinished: {places} of {sessions[0].budget:,} env steps"
