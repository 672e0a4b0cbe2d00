"""What the reporter ``console`` shows, drawn with rich: a panel of the sessions and a table of the scores."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final, TextIO

from rich.console import Console, Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from slmk.builtin.progress import Progress

__all__ = ["compact", "duration", "number", "open_console", "panel", "scores", "verdict"]

PIPE_WIDTH: Final = 120
"""Columns of what goes to a file or a pipe."""
NARROW: Final = 76
"""Columns below which a table leaves out what matters less."""
WIDE: Final = 96
"""Columns from which the panel has room for step counts."""
NARROW_SCORES: Final = ("final_return_ma", "final_eval_return", "max_return_ma", "final_strength", "stability")
"""The scores that a narrow terminal shows; all of them are in ``summary.json``."""
_WIDTHS: Final = {"used": 5, "steps/s": 7, "return": 6, "best": 6, "eval": 6, "left": 7}
"""Columns of the panel keep their places while their contents grow."""
ECHO: Final = 4
"""Columns that the panel leaves free at its right."""
PLAIN: Final = str.maketrans({"✓": "OK:", "✗": "NO:", "±": "+-", "≥": ">=", "·": "-", "–": "-", "…": "..."})
"""Spellings for terminals that know no Unicode."""


def open_console() -> Console:
    """A console on stdout that never fails for a character, and wraps no line where stdout is no terminal."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    spelled: Any = None if encoding.lower().startswith("utf") else _Spelled(sys.stdout)
    console = Console(file=spelled, highlight=False, markup=False, emoji=False)
    if not console.file.isatty():
        console.size = console.size._replace(width=PIPE_WIDTH)
    return console


class _Spelled:
    """A text stream of a limited encoding, in which other characters are spelled out or become question marks."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self.encoding = stream, stream.encoding

    def write(self, text: str) -> int:
        return self._stream.write(text.translate(PLAIN).encode(self.encoding, "replace").decode(self.encoding))

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()


def panel(sessions: Sequence[Progress], width: int, *, running: bool = True) -> Table:
    """One line for each session: budget bar, speed, returns and the time left.

    Args:
        sessions: in the order shown.
        width: columns of the terminal; a narrow one gets fewer columns.
        running: whether sessions that are not finished still go on.
    """
    table = Table.grid(padding=(0, 2), expand=True)
    # The terminal echoes ^C behind the last line; at the right edge it would begin a new one and shift the panel.
    table.width = width - ECHO
    columns = [column for column in _cells(None, running) if _fits(column, width)]
    for column in columns:
        table.add_column(
            justify="right", no_wrap=True, min_width=_WIDTHS.get(column), ratio=int(column == "bar") or None
        )
    table.add_row(*(Text("" if column == "bar" else column, style="dim") for column in columns))
    for session in sessions:
        cells = _cells(session, running)
        table.add_row(*(cells[column] for column in columns))
    return table


def _fits(column: str, width: int) -> bool:
    return width >= {"env steps": WIDE, "best": NARROW}.get(column, 0)


def _cells(session: Progress | None, running: bool) -> dict[str, Any]:
    """The cells of a line by the heads of their columns; the heads alone need no session."""
    s = session or Progress(0, 1)
    speed = s.speed if running and not s.finished else None
    return {
        "seed": str(s.seed),
        "bar": ProgressBar(total=s.budget, completed=min(s.env_steps, s.budget)),
        "used": f"{int(100 * s.share)} %",
        "env steps": f"{s.env_steps:,}",
        "steps/s": compact(speed),
        "return": Text(number(s.return_ma), style="bold"),
        "best": number(s.best),
        "eval": number(s.evaluation),
        "left": _left(s, running),
    }


def _left(session: Progress, running: bool) -> Text:
    if session.finished:
        return Text("done", style="green")
    if not running:
        return Text("stopped", style="yellow")
    if not session.heard:
        return Text("waiting", style="dim")
    return Text(duration(session.seconds_left))


def scores(summary: Mapping[str, Any], width: int) -> Table:
    """The scores of a trial: over several seeds their mean, deviation, IQM and its interval; of one, the values."""
    known = {name: score for name, score in summary["scores"].items() if score["mean"] is not None}
    count = len(summary["sessions"])
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column(f"{count} seeds" if count > 1 else "one seed", no_wrap=True)
    for head in ("mean ± std", "IQM", "95 % interval") if count > 1 else ("score",):
        table.add_column(head, justify="right")
    for name, score in known.items():
        if width >= NARROW or name in NARROW_SCORES:
            style = "bold" if summary["target"] and summary["target"]["metric"] == name else ""
            table.add_row(name, *(_statistics(score) if count > 1 else [number(score["mean"])]), style=style)
    return table


def _statistics(score: Mapping[str, Any]) -> list[str]:
    like = score["mean"]
    low, high = (number(end, like) for end in score["ci95"])
    return [f"{number(like)} ± {number(score['std'], like)}", number(score["iqm"], like), f"{low} … {high}"]


def verdict(target: Mapping[str, Any], *, complete: bool) -> Group:
    """Whether the target is reached, and who set it."""
    reached = target["reached"]
    word = "reached" if reached else "not reached" if complete else "not reached yet"
    line = Text(f"{'✓' if reached else '✗'} target {word}", style="bold green" if reached else "bold red")
    relation = "≥" if reached else "<"
    found = "none" if target["value"] is None else f"{number(target['value'])} {relation} {target['score']:g}"
    facts = f"  {target['metric']}: {found}"
    return Group(line.append(facts, style="not bold default"), Text(f"  {target['source']}", style="dim"))


def number(value: float | None, like: float | None = None) -> str:
    """A score with four digits or so, as many decimals as `like` has, if given; a dash for none."""
    if value is None:
        return "–"
    size = abs(value if like is None else like)
    if 0 < size < 0.01:
        return f"{value:.1e}"
    decimals = 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 1 else 3
    return f"{value:,.{decimals}f}"


def compact(value: float | None) -> str:
    """A rate in at most six characters: 87.5, 4,213, 14.2k, 1.25M."""
    if value is None:
        return "–"
    if value < 100:
        return f"{value:.1f}"
    if value < 10_000:
        return f"{value:,.0f}"
    if value < 1_000_000:
        return f"{value / 1000:.1f}k" if value < 100_000 else f"{value / 1000:.0f}k"
    return f"{value / 1_000_000:.2f}M"


def duration(seconds: float | None) -> str:
    """Minutes and seconds, with hours and days where there are any; a dash if unknown."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24}d {hours % 24}h"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
