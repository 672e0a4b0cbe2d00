"""``slmk schema``: what an editor needs to complete specs."""

from __future__ import annotations

import json

import click

from slmk.cli.json_schema import spec_schema
from slmk.registry import get_registry

__all__ = ["schema"]


@click.command()
def schema() -> None:
    """Print the JSON Schema of specs with the plugins that are installed.

    Save it as slmk.schema.json and put `#:schema slmk.schema.json` on the first line of a spec: editors with the
    "Even Better TOML" language server then complete keys and show what they mean.
    """
    click.echo(json.dumps(spec_schema(get_registry()), indent=2))
