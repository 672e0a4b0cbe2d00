"""``percentile`` keeps every promise of its kind."""

from slmk.testing import NormalizerContract


class TestPercentile(NormalizerContract):
    """The contract."""

    component = "percentile"
