"""``slmk plugins``: what is installed and whether it works."""

from __future__ import annotations

import click

from slmk.cli.present import show_table
from slmk.registry import Row, get_registry

__all__ = ["plugins"]


@click.command()
def plugins() -> None:
    """List every component that plugins offer, and the plugins that are broken."""
    rows = get_registry().rows()
    header = ("kind", "name", "distribution", "version", "health", "summary")
    show_table(header, [(r.kind, r.name, r.distribution, r.version, r.health, r.summary) for r in rows])
    unwell = [row for row in rows if row.health != "ok"]
    if unwell:
        click.echo()
    for line in dict.fromkeys(map(_advice, unwell)):  # Both that claim a name have the same.
        click.echo(line)


def _advice(row: Row) -> str:
    head = click.style(f"{row.health}: {row.kind} {row.name}", fg="yellow" if row.health == "needs" else "red")
    return f"{head}: {row.summary}" + (f"; {row.hint}" if row.hint else "")
