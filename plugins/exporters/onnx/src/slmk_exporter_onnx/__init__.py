"""The command ``slmk export``: a trained policy as one ONNX file, which runs without slmk and without torch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from slmk import hookimpl

__all__ = ["export"]


@click.command()
@click.argument("directory", metavar="RUN", type=click.Path(exists=True, path_type=Path))
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="The file; RUN/policy.onnx by default.")
def export(directory: Path, output: Path | None) -> None:
    """Write the policy of RUN (a run, one of its seeds, or a checkpoint) as an ONNX file, and check it.

    Of a seed it is the checkpoint with the best evaluation, of a run that of the seed whose best evaluation is the
    highest; without evaluations the newest, of the first seed.
    """
    from slmk_exporter_onnx.file import write

    click.echo(write(directory, output or directory / "policy.onnx"))


@hookimpl
def slmk_commands() -> Iterable[click.Command]:
    """Offer ``export``."""
    return [export]
