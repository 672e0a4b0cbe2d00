"""A click group whose commands are known by a table and imported when they are called."""

from __future__ import annotations

import select
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import click

from slmk.errors import did_you_mean

__all__ = ["LazyCommand", "LazyGroup"]


@dataclass(frozen=True, slots=True)
class LazyCommand:
    """Where a command is, and what ``--help`` says about it without importing it."""

    target: str
    """``module:attribute`` of the click command."""
    summary: str
    logs: bool = True
    """Whether it logs; the others are spared the import of structlog."""


class LazyGroup(click.Group):
    """Commands from a table first, then those that plugins offer."""

    def __init__(self, *args: Any, commands: Mapping[str, LazyCommand], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._table = commands

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands."""
        return [*self._table, *(name for name in sorted(_offered()) if name not in self._table)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported; None if there is none of that name."""
        entry = self._table.get(cmd_name)
        if entry is None:
            return _offered().get(cmd_name)
        module, _, attribute = entry.target.partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """As click does, which would take any broken pipe, such as that of a simulator's process, for stdout's."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            if _stdout_is_broken():
                return 128 + signal.SIGPIPE  # The reader, such as `head`, has seen enough.
            raise RuntimeError("a process at the other end of a pipe is gone") from error

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the nearest name for one that is unknown."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            ctx.fail(_unknown(args[0], self.list_commands(ctx)))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table's commands, imported by nobody, and those of plugins that announce commands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in self._table.items()])
        from slmk.discovery import announced_commands

        offered = {name: command for name, command in announced_commands().items() if name not in self._table}
        if offered:
            with formatter.section("Commands of plugins"):
                formatter.write_dl([(name, command.get_short_help_str(limit=200)) for name, command in offered.items()])


def _stdout_is_broken() -> bool:
    """Whether stdout is a pipe or a socket without a reader, where the system can tell."""
    if not hasattr(select, "poll"):
        return False
    poll = select.poll()
    poll.register(1, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _unknown(name: str, known: Sequence[str]) -> str:
    from slmk.registry import FIRST_PARTY_COMMANDS

    if name in FIRST_PARTY_COMMANDS:
        return f"the command '{name}' is not installed; pip install {FIRST_PARTY_COMMANDS[name]}"
    hint = did_you_mean(name, {*known, *FIRST_PARTY_COMMANDS}) or "see slmk --help"
    return f"no command is called '{name}'; {hint}"


def _offered() -> dict[str, click.Command]:
    from slmk.registry import get_registry

    return get_registry().commands()
