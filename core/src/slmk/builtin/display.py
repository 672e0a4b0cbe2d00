"""What the reporter ``console`` shows, drawn with rich: a panel of the sessions and a table of the scores."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final, TextIO

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from slmk.builtin.progress import Progress
from slmk.metrics import shortfall
from slmk.pipes import drop

__all__ = ["compact", "duration", "number", "open_console", "panel", "scores", "verdict"]

PIPE_WIDTH: Final = 120
"""Columns of what goes to a file or a pipe."""
NARROW: Final = 76
"""Columns below which a table leaves out what matters less."""
WIDE: Final = 96
"""Columns from which the panel has room for step counts."""
NARROW_SCORES: Final = ("final_return_ma", "final_eval_return", "max_return_ma", "final_strength", "stability")
"""The scores that a narrow terminal shows; all of them are in ``summary.json``."""
_LEAST_WIDTHS: Final = {"env steps": WIDE, "best": NARROW}
"""Columns of the terminal from which the panel has a column; the others it has always."""
_ROOM: Final = {"used": 5, "steps/s": 7, "return": 6, "best": 6, "eval": 6, "left": 7}
"""Room for a column's contents to grow while the others keep their places."""
_STYLES: Final = {"done": "green", "stopped": "yellow", "waiting": "dim"}
GAP: Final = "  "
ECHO: Final = 4
"""Columns that the panel leaves free at its right."""
PLAIN: Final = str.maketrans(
    {"✓": "OK:", "✗": "NO:", "±": "+-", "≥": ">=", "–": "-", "…": "..", "━": "=", "╸": "-", "─": "."}
)
"""Spellings for terminals that know no Unicode."""


def open_console() -> Console:
    """A console on stdout that never fails for a character, and wraps no line where stdout is no terminal."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    spelled: Any = None if encoding.lower().startswith("utf") else _Spelled(sys.stdout)
    console = _Screen(file=spelled, highlight=False, markup=False, emoji=False)
    if not console.file.isatty():
        console.size = console.size._replace(width=PIPE_WIDTH)
    return console


class _Screen(Console):
    """A console for which a reader that is gone, such as `head`, is an error like any other: rich ends the process."""

    def on_broken_pipe(self) -> None:
        drop(sys.stdout)
        raise BrokenPipeError("nobody reads stdout any more")


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


def panel(sessions: Sequence[Progress], width: int, *, running: bool = True) -> Text:
    """One line for each session: budget bar, speed, returns and the time left.

    Built by hand, since a rich table would cost the session that runs in this process a few milliseconds each time.

    Args:
        sessions: in the order shown.
        width: columns of the terminal; a narrow one gets fewer columns.
        running: whether sessions that are not finished still go on.
    """
    rows = [_cells(session, running) for session in sessions]
    columns = [column for column in rows[0] if width >= _LEAST_WIDTHS.get(column, 0)]
    widths = {column: max(len(column), _ROOM.get(column, 0), *(len(row[column]) for row in rows)) for column in columns}
    bar = max(4, width - ECHO - sum(widths.values()) - len(GAP) * len(columns))
    first, *others = (column.rjust(widths[column]) for column in columns)
    text = Text(GAP.join([first, " " * bar, *others]), no_wrap=True, overflow="crop")
    text.stylize("dim")
    for session, row in zip(sessions, rows, strict=True):
        seed, *facts, left = (row[column].rjust(widths[column]) for column in columns)
        text.append(f"\n{seed}{GAP}").append_text(_bar(session.share, bar)).append(GAP + GAP.join(facts) + GAP)
        text.append(left, style=_STYLES.get(row["left"], ""))
    return text


def _bar(share: float, width: int) -> Text:
    """A heavy line for what is used and a light one for the rest, to be told apart without colours."""
    halves = int(2 * width * share)
    used = "━" * (halves // 2) + "╸" * (halves % 2)
    return Text(used, style="green" if share == 1 else "cyan").append("─" * (width - len(used)), style="dim")


def _cells(session: Progress, running: bool) -> dict[str, str]:
    """The cells of a line by the heads of their columns."""
    moving = running and not session.finished
    return {
        "seed": str(session.seed),
        "used": f"{int(100 * session.share)} %",
        "env steps": f"{session.env_steps:,}",
        "steps/s": compact(session.speed if moving else None),
        "return": number(session.return_ma),
        "best": number(session.best),
        "eval": number(session.evaluation),
        "left": _left(session, running),
    }


def _left(session: Progress, running: bool) -> str:
    if session.finished:
        return "done"
    if not running:
        return "stopped"
    return duration(session.seconds_left) if session.heard else "waiting"


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
    if score["ci95"] is None:  # Only one of the seeds has this score.
        return [number(like), "", ""]
    low, high = (number(end, like) for end in score["ci95"])
    return [f"{number(like)} ± {number(score['std'], like)}", number(score["iqm"], like), f"{low} … {high}"]


def verdict(summary: Mapping[str, Any], *, complete: bool) -> Group:
    """Whether the target is reached, and who set it."""
    target = summary["target"]
    reached = target["reached"]
    word = "reached" if reached else "not reached" if complete else "not reached yet"
    line = Text(f"{'✓' if reached else '✗'} target {word}", style="bold green" if reached else "bold red")
    relation = "≥" if reached else "<"
    compared = f"{number(target['value'])} {relation} {target['score']:g}"
    found = "not every seed has one" if target["value"] is None else compared
    facts = f"  {target['metric']}: {' '.join(filter(None, [found, shortfall(summary)]))}"
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
