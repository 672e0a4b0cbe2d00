"""The reporters of a run, isolated: one that raises is switched off with a warning, and the run goes on.

But for a `RunError`, by which a reporter says that the run cannot do without what it failed to write.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal

import structlog

from slmk.config import Config
from slmk.errors import PluginError, RunError
from slmk.registry import get_registry
from slmk.spec import Blueprint

__all__ = ["Reporters"]

log = structlog.get_logger("slmk")


class Reporters:
    """Those reporters of a blueprint that belong to a scope, called in the order of the spec."""

    def __init__(self, blueprint: Blueprint, scope: Literal["seed", "trial"], directory: Path) -> None:
        registry = get_registry()
        self._reporters: dict[str, Any] = {}
        for part in blueprint.reporters:
            target: Any = registry.load(part.component)
            if _scope(part.component.name, target) == scope:
                name = f"{part.component.name}.{len(self._reporters)}"
                self._guard(name, partial(self._add, name, target, part.config, directory))

    def start(self, run: Mapping[str, Any]) -> None:
        """See `slmk.protocols.Reporter.start`."""
        self._each(lambda reporter: reporter.start(run))

    def report(self, row: Mapping[str, Any]) -> None:
        """See `slmk.protocols.Reporter.report`."""
        self._each(lambda reporter: reporter.report(row))

    def finish(self, summary: Mapping[str, Any]) -> None:
        """See `slmk.protocols.Reporter.finish`; then let those that have a ``show_files()`` say what all have left."""
        files: list[tuple[str, Path]] = []
        for name, reporter in list(self._reporters.items()):
            self._guard(name, partial(_finish, name, reporter, summary, files))
        self._each(lambda reporter: _show_files(reporter, files))

    def close(self) -> None:
        """Let reporters that have a ``close()`` give back what they hold; after `finish`, and after an error too."""
        self._each(_close)

    def _add(self, name: str, target: Callable[..., Any], config: Config, directory: Path) -> None:
        self._reporters[name] = target(config, directory)

    def _each(self, call: Callable[[Any], None]) -> None:
        for name, reporter in list(self._reporters.items()):
            self._guard(name, partial(call, reporter))

    def _guard(self, name: str, call: Callable[[], None]) -> None:
        try:
            call()
        except RunError:
            raise
        except Exception as error:
            with suppress(Exception):
                _close(self._reporters.pop(name, None))
            log.warning("reporter switched off", reporter=_component(name), error=f"{type(error).__name__}: {error}")


def _scope(name: str, target: object) -> str:
    """What the reporter belongs to.

    Raises:
        PluginError: it does not say so.
    """
    scope = getattr(target, "scope", None)
    if scope not in ("seed", "trial"):
        message = f"the reporter '{name}' has the scope {scope!r}, expected a class variable that is 'seed' or 'trial'"
        raise PluginError(message)
    return str(scope)


def _finish(name: str, reporter: Any, summary: Mapping[str, Any], files: list[tuple[str, Path]]) -> None:
    left = reporter.finish(summary)
    if left is not None:
        files.append((_component(name), Path(left)))


def _component(name: str) -> str:
    """The component's name, of that by which a reporter is told from others of the same component."""
    return name.rpartition(".")[0]


def _show_files(reporter: Any, files: Sequence[tuple[str, Path]]) -> None:
    if hasattr(reporter, "show_files"):
        reporter.show_files(files)


def _close(reporter: Any) -> None:
    if hasattr(reporter, "close"):
        reporter.close()
