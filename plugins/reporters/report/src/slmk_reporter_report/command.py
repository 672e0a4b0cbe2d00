"""The command ``slmk report``, a plugin of its own so that ``slmk --help`` can list it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from slmk import RunError, hookimpl

__all__ = ["report"]


@click.command()
@click.argument("directories", metavar="RUN...", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="The page to write.")
def report(directories: tuple[Path, ...], output: Path | None) -> None:
    """Write the report page of one run or of several."""
    from slmk_reporter_report.page import build_report
    from slmk_reporter_report.reporter import FILE

    target = output or (directories[0] / FILE if len(directories) == 1 else Path("comparison.html"))
    try:
        build_report(directories, target)
    except OSError as error:
        raise RunError(f"cannot write {target}: {error}") from error
    click.echo(f"report: {target}")


@hookimpl
def slmk_commands() -> Iterable[click.Command]:
    """Offer ``report``."""
    return [report]
