"""The mistakes found in one document, each with its place."""

from __future__ import annotations

from slmk.errors import Problem
from slmk.spec.document import Document
from slmk.spec.lines import KeyPath

__all__ = ["Diagnostics"]


class Diagnostics:
    """Collects problems. `plugin_faults` are those for which a plugin is to blame, not the spec's author."""

    def __init__(self, document: Document, *, whole: bool = True) -> None:
        """Collect mistakes of `document`; of one that is not `whole` nobody can say what is missing."""
        self._whole = whole
        self.problems: list[Problem] = []
        self.plugin_faults: set[Problem] = set()
        self._document = document

    def report(
        self, path: KeyPath, message: str, *, absent: bool = False, broken: bool = False, **facts: str | None
    ) -> None:
        """Add a problem.

        Args:
            path: the key.
            message: what is wrong.
            absent: the key is not there, so the table around it gives the line.
            broken: a plugin is to blame.
            facts: `expected`, `found` and `hint` of `Problem`.
        """
        if absent and not self._whole:
            return
        problem = self._document.place(path[:-1] if absent else path).problem(message, path, **facts)
        self.problems.append(problem)
        if broken:
            self.plugin_faults.add(problem)
