"""``prioritized`` keeps every promise of its kind."""

from slmk.testing import MemoryContract


class TestPrioritized(MemoryContract):
    """The contract."""

    component = "prioritized"
