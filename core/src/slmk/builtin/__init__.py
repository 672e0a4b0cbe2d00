"""What no run can do without, offered through the same hooks as everybody's plugins."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import Field

from slmk.component import Component
from slmk.config import LauncherConfig
from slmk.hookspecs import hookimpl

__all__ = ["LocalConfig"]


class LocalConfig(LauncherConfig):
    """Options of the launcher ``local``."""

    parallel: Annotated[int, Field(ge=0)] = 0
    """Sessions at a time; 0 for as many as there are cores."""


@hookimpl
def slmk_launchers() -> Iterable[Component]:
    """Offer ``local``."""
    return [Component("local", LocalConfig, "slmk.builtin.local:Local", "processes of this machine")]
