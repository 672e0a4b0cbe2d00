"""What can go wrong, in words for a person: problems, the exceptions that carry them, and exit codes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["CheckpointError", "PluginError", "Problem", "RunError", "SlmkError", "SpecError", "did_you_mean"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a spec, with all that a person needs to mend it."""

    message: str
    """What is wrong, as one clause without a full stop."""
    path: str = ""
    """Dotted path of the key, such as ``algorithm.clip``."""
    file: str | None = None
    """The file in which the key stands; None for a value given on the command line."""
    line: int | None = None
    """The line of the key in `file`, from 1."""
    expected: str | None = None
    """What would have been right."""
    found: str | None = None
    """What stands there."""
    hint: str | None = None
    """What to do: the nearest valid name, the command that installs what is missing."""

    def __str__(self) -> str:
        """`file:line: path: message (expected …, found …); hint`, leaving out what is not known."""
        place = ":".join(str(part) for part in (self.file, self.line) if part is not None)
        head = ": ".join(part for part in (place, self.path, self.message) if part)
        facts = ", ".join(
            f"{word} {value}" for word, value in (("expected", self.expected), ("found", self.found)) if value
        )
        return head + (f" ({facts})" if facts else "") + (f"; {self.hint}" if self.hint else "")


class SlmkError(Exception):
    """Base of every error that slmk raises on purpose. The command line prints it without a traceback."""

    exit_code = 1


class RunError(SlmkError):
    """A run could not go on: a disk is full, a simulator died, a loss is not finite."""


class CheckpointError(SlmkError):
    """A checkpoint is missing, truncated, foreign or of another version."""


class SpecError(SlmkError):
    """A spec is wrong. `problems` holds every mistake found, sorted by file and line."""

    exit_code = 2

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda p: (p.file or "", p.line or 0, p.path)))
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def __reduce__(self) -> tuple[type[SpecError], tuple[tuple[Problem, ...]]]:
        """Sessions send their errors to the parent process."""
        return type(self), (self.problems,)


class PluginError(SlmkError):
    """A plugin is broken, misspells a hook, breaks the contract, or claims a name that is taken."""

    exit_code = 3


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """`did you mean 'x'?` for the known name nearest to `name`, or None where nothing is near."""
    from difflib import get_close_matches  # Needed after a mistake only.

    matches: Sequence[str] = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"did you mean '{matches[0]}'?" if matches else None
