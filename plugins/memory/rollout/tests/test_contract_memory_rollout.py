"""``rollout`` keeps every promise of its kind."""

from slmk.testing import MemoryContract


class TestRollout(MemoryContract):
    """The contract."""

    component = "rollout"
