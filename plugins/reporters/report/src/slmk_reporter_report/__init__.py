"""Self-contained HTML reports: options and registration."""

from __future__ import annotations

from collections.abc import Iterable

from slmk import Component, ReporterConfig, hookimpl

__all__ = ["ReportConfig"]


class ReportConfig(ReporterConfig):
    """Options of ``report``: it has none."""


@hookimpl
def slmk_reporters() -> Iterable[Component]:
    """Offer ``report``."""
    return [Component("report", ReportConfig, "slmk_reporter_report.reporter:Report", "report.html when a run is done")]
