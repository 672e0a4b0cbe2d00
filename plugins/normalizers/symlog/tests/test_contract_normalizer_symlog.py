"""``symlog`` keeps every promise of its kind."""

from slmk.testing import NormalizerContract


class TestSymlog(NormalizerContract):
    """The contract."""

    component = "symlog"
