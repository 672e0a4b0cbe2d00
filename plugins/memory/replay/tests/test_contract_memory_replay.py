"""``replay`` keeps every promise of its kind."""

from slmk.testing import MemoryContract


class TestReplay(MemoryContract):
    """The contract."""

    component = "replay"
