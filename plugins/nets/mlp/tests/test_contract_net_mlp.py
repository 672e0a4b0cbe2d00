"""``mlp`` keeps every promise of its kind."""

from slmk.testing import NetworkContract


class TestMLP(NetworkContract):
    """The contract."""

    component = "mlp"
