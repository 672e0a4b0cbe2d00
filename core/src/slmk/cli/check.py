"""``slmk check``: are these specs right?"""

from __future__ import annotations

from pathlib import Path

import click

from slmk.cli.options import sets
from slmk.cli.present import show_error
from slmk.component import env_title
from slmk.errors import SlmkError
from slmk.spec import Blueprint, load

__all__ = ["check"]


@click.command()
@click.argument("specs", metavar="SPEC...", nargs=-1, required=True, type=click.Path(path_type=Path))
@sets("check")
def check(specs: tuple[Path, ...], overrides: tuple[str, ...]) -> int:
    """Check each SPEC as a whole and print every mistake. Nothing is built or written.

    What only a simulator knows, such as the ids of its environments and whether a device is there, `slmk run` finds
    when it begins.

    Exits with 0 if all is right, 2 if a spec is wrong, 3 if one asks for a plugin that is broken.
    """
    codes = [_check(spec, overrides) for spec in specs]
    return 2 if 2 in codes else max(codes)


def _check(spec: Path, overrides: tuple[str, ...]) -> int:
    try:
        blueprint = load(spec, overrides)
    except SlmkError as error:
        show_error(error)
        return error.exit_code
    click.echo(f"{click.style('ok', fg='green')} {spec}: {_summary(blueprint)}")
    return 0


def _summary(blueprint: Blueprint) -> str:
    run = blueprint.run
    env = env_title(blueprint.env.resolved())
    seeds = f"{run.seeds} seed{'s' if run.seeds > 1 else ''}"
    return f"{blueprint.algorithm.component.name} on {env}, {run.env_steps:,} env steps, {seeds}"
