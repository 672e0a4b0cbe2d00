"""Where log events go: a console for people, JSON lines for machines, a file in the run directory for later.

Code that logs asks structlog for a logger and names an event with key-values: ``log.warning("reporter off", name=…)``.
Only the command line and the processes it starts call `configure`; a program that uses slmk keeps its own settings.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO

from slmk.pipes import drop

if TYPE_CHECKING:
    from structlog.typing import Processor

__all__ = ["FORMATS", "LEVELS", "Format", "Level", "configure", "hand_over_logs", "log_again", "say_stopping"]

Format = Literal["console", "json"]
Level = Literal["debug", "info", "warning", "error"]
FORMATS: tuple[Format, ...] = ("console", "json")
LEVELS: tuple[Level, ...] = ("debug", "info", "warning", "error")

Event = MutableMapping[str, Any]


def configure(format: Format = "console", level: Level = "info", file: Path | None = None) -> None:
    """Send events of at least `level` to stderr, and all of them as JSON lines to `file` if one is given.

    Args:
        format: ``console`` for people, coloured on a terminal; ``json`` for one JSON object per line.
        level: the lowest level that is shown.
        file: is appended to; its directory must exist.

    Raises:
        OSError: `file` cannot be opened.
    """
    import logging

    import structlog  # 0.3 s: never at import, so that `slmk check` does not pay for it.

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([_FileCopy(file)] if file else []),
            *_renderer(format),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=_StderrLogger,
        cache_logger_on_first_use=False,
    )


def hand_over_logs(send: Callable[[str, dict[str, Any]], None], **context: Any) -> None:
    """Show no event of this process, but send it to the one that started it, whose display it would tear.

    Args:
        send: takes the level and the event, for `log_again` over there.
        context: what every event is to say besides, such as the seed.
    """
    import structlog

    def processor(logger: Any, method: str, event: Event) -> Event:
        simple = {key: value if isinstance(value, int | float | None) else str(value) for key, value in event.items()}
        send(method, {**context, **simple})
        raise structlog.DropEvent

    merge, render_error = structlog.contextvars.merge_contextvars, structlog.processors.format_exc_info
    structlog.configure(processors=[merge, render_error, processor], cache_logger_on_first_use=False)


def log_again(level: str, event: Mapping[str, Any]) -> None:
    """Log an event that another process has handed over."""
    import structlog

    getattr(structlog.get_logger("slmk"), level)(**event)


def say_stopping() -> None:
    """Answer the first signal, from its handler: what is under way may take minutes to end."""
    import structlog

    with suppress(RuntimeError):  # Where the signal came while something was being written.
        structlog.get_logger("slmk").warning(
            "stopping after this iteration, with a checkpoint; a second time stops at once"
        )


def _renderer(format: Format) -> list[Processor]:
    import structlog

    if format == "json":
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    plain = structlog.dev.plain_traceback
    return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]


class _StderrLogger:
    """Writes lines to what is stderr at that moment, which a live display may have replaced for a while."""

    def __init__(self, *_: object) -> None: ...

    def msg(self, message: str) -> None:
        try:
            print(message, file=sys.stderr, flush=True)
        except BrokenPipeError:  # The run need not end because nobody reads its log any more.
            drop(sys.stderr)

    debug = info = warning = warn = error = critical = exception = fatal = log = msg


class _FileCopy:
    """A processor that writes each event to a file and passes it on unchanged."""

    def __init__(self, path: Path) -> None:
        self._file: TextIO = path.open("a", buffering=1, encoding="utf-8")

    def __call__(self, logger: Any, method: str, event: Event) -> Event:
        import json

        from structlog.processors import format_exc_info

        copy = format_exc_info(logger, method, dict(event))
        try:
            self._file.write(json.dumps(copy, default=str) + "\n")
        except OSError as error:  # A full disk: the event is still shown, and the run need not end for a log line.
            event["log_file"] = f"not written: {error.strerror}"
        return event
