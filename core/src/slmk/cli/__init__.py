"""The command ``slmk``. Each command's module is imported when the command is called."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Final

import click

from slmk import __version__, world
from slmk.cli.lazy import LazyCommand, LazyGroup
from slmk.cli.present import show_error
from slmk.errors import SlmkError
from slmk.logs import FORMATS, LEVELS, configure
from slmk.pipes import drop

__all__ = ["COMMANDS", "cli", "main"]

COMMANDS: Final = {
    "run": LazyCommand("slmk.cli.train:run", "Train a spec; without one, the demo: PPO learns CartPole."),
    "resume": LazyCommand("slmk.cli.train:resume", "Go on with a run from its newest checkpoints."),
    "eval": LazyCommand("slmk.cli.train:eval_", "Score the policy of a run, show it or film it."),
    "list": LazyCommand("slmk.cli.train:list_", "List runs."),
    "baseline": LazyCommand("slmk.cli.train:baseline", "Measure the random policy of a spec's environment."),
    "check": LazyCommand("slmk.cli.check:check", "Check specs and print every mistake.", logs=False),
    "plugins": LazyCommand("slmk.cli.plugins:plugins", "List what is installed, with its health.", logs=False),
    "describe": LazyCommand("slmk.cli.describe:describe", "Explain the options of a component.", logs=False),
    "schema": LazyCommand("slmk.cli.schema:schema", "Print the JSON Schema of specs, for editors.", logs=False),
    "doctor": LazyCommand("slmk.cli.doctor:doctor", "Look for what this machine lacks.", logs=False),
    "new": LazyCommand("slmk.cli.author:new", "Start a plugin from a template."),
    "check-plugin": LazyCommand("slmk.cli.author:check_plugin", "Put a component through the contract suite."),
}
"""The kernel's own commands, in the order of ``slmk --help``. `slmk_commands` adds those of plugins."""


@click.group(
    cls=LazyGroup,
    commands=COMMANDS,
    context_settings={"auto_envvar_prefix": "SLMK", "help_option_names": ["-h", "--help"]},
)
@click.option("--log-format", type=click.Choice(FORMATS), default="console", help="How log events look on stderr.")
@click.option("--log-level", type=click.Choice(LEVELS), default="info", help="The lowest level that is shown.")
@click.version_option(__version__, prog_name="slmk", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context, log_format: str, log_level: str) -> None:
    """slmk: a reinforcement-learning lab. One TOML file is one experiment.

    Every flag can be given as an environment variable, such as SLMK_RUN_DEVICE for `slmk run --device`.
    """
    command = COMMANDS.get(ctx.invoked_subcommand or "")
    if command is None or command.logs:
        configure(log_format, "warning" if log_level == "info" and _is_follower() else log_level)  # type: ignore[arg-type]


def _is_follower() -> bool:
    """Whether this is not the first of several processes that ``torchrun`` has started: that one logs what all do."""
    return world.announced(os.environ) > 1 and os.environ.get("RANK") != "0"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code: 0 done, 1 run failed, 2 spec wrong, 3 plugin broken."""
    # pydantic would read the metadata of every distribution once more to look for plugins of its own.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    _spell_everything()
    try:
        code = _main(arguments)
    except BaseException:
        if world.size() == 1:
            raise
        traceback.print_exc()
        code = 1
    finally:
        _drop_unread()
    if world.size() > 1:  # Still, after an error: Python's end would wait for the others, who wait for this one.
        os._exit(code)
    return code


def _main(arguments: Sequence[str] | None) -> int:
    try:
        result = cli.main(arguments, prog_name="slmk", standalone_mode=False)
    except SlmkError as error:
        show_error(error)
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130
    return result if isinstance(result, int) else 0


def _spell_everything() -> None:
    """Print question marks for what stdout cannot spell rather than fail; stderr does something of the kind anyway."""
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="replace")


def _drop_unread() -> None:
    """Python would try once more at its end to write what nobody reads, and complain."""
    for stream in filter(None, (sys.stdout, sys.stderr)):  # One that was closed before is None.
        try:
            stream.flush()
        except BrokenPipeError:
            drop(stream)
