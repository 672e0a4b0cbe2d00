"""Errors and tables on a terminal: coloured there, plain in a pipe. Rich would cost a third of a second here."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from slmk.errors import Problem, SlmkError, SpecError

__all__ = ["show_error", "show_table"]


def show_error(error: SlmkError) -> None:
    """Print an error to stderr, for a spec with all its problems."""
    if not isinstance(error, SpecError):
        click.echo(f"{click.style('error', fg='red', bold=True)}: {error}", err=True)
        return
    for problem in error.problems:
        click.echo(_coloured(problem), err=True)
    count = len(error.problems)
    if count > 1:
        click.secho(f"{count} problems", fg="red", bold=True, err=True)


def _coloured(problem: Problem) -> str:
    """The words of `Problem.__str__`, the path and the hint standing out."""
    text = str(problem)
    if problem.path:
        text = text.replace(f"{problem.path}: ", f"{click.style(problem.path, fg='cyan', bold=True)}: ", 1)
    if problem.hint and text.endswith(problem.hint):
        text = text.removesuffix(problem.hint) + click.style(problem.hint, fg="green")
    return text


def show_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, cut: bool = True) -> None:
    """Print columns, as wide as their longest cell; on a terminal the last one is cut to fit, unless told not to."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    room = _terminal_width() - sum(widths[:-1]) - 2 * (len(widths) - 1)
    limit = max(room, 20) if cut and sys.stdout.isatty() else None
    click.secho(_line(header, widths, limit), bold=True)
    for row in rows:
        click.echo(_line(row, widths, limit))


def _terminal_width() -> int:
    try:
        return os.get_terminal_size().columns
    except OSError:  # Not a terminal.
        return 80


def _line(row: Sequence[str], widths: Sequence[int], limit: int | None) -> str:
    *cells, last = row
    if limit is not None and len(last) > limit:
        last = last[: limit - 1] + "…"
    return "  ".join([*(cell.ljust(width) for cell, width in zip(cells, widths, strict=False)), last]).rstrip()
