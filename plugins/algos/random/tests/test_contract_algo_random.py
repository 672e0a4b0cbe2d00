"""``random`` keeps every promise of its kind."""

from slmk.testing import AlgorithmContract


class TestRandom(AlgorithmContract):
    """The contract."""

    component = "random"
