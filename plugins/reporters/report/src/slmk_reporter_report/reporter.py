"""The reporter ``report``: when a trial is done, ``report.html`` appears in its run directory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from slmk_reporter_report import ReportConfig

__all__ = ["Report"]

FILE = "report.html"
"""The page of one run, in its directory."""


class Report:
    """Reads the run directory once, at the end; rows on their way there do not matter to it."""

    scope: ClassVar[Literal["seed", "trial"]] = "trial"

    def __init__(self, config: ReportConfig, directory: Path) -> None:
        self.directory = directory

    def start(self, run: Mapping[str, Any]) -> None:
        """Nothing."""

    def report(self, row: Mapping[str, Any]) -> None:
        """Nothing: the rows are on the disk."""

    def finish(self, summary: Mapping[str, Any]) -> Path:
        """Write the page, and say where it is."""
        from slmk_reporter_report.page import build_report

        page = self.directory / FILE
        build_report([self.directory], page)
        return page
