"""``report`` keeps every promise of its kind."""

from slmk.testing import ReporterContract


class TestReport(ReporterContract):
    """The contract."""

    component = "report"
