"""Flags that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

__all__ = ["sets"]


def sets(command: str, what: str = "a key of the spec") -> Callable[[Any], Any]:
    """The flag ``-s``, whose values the command gets as ``overrides``.

    Args:
        command: its name, for the environment variable ``SLMK_<COMMAND>_SET``.
        what: what it sets.
    """
    variable = f"SLMK_{command.upper().replace('-', '_')}_SET"
    note = f"Set {what}."
    return click.option("-s", "--set", "overrides", multiple=True, metavar="KEY=VALUE", envvar=variable, help=note)
