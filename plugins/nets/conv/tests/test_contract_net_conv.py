"""``conv`` keeps every promise of its kind."""

from slmk.testing import NetworkContract


class TestConv(NetworkContract):
    """The contract."""

    component = "conv"
