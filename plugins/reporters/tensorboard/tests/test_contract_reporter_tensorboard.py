"""``tensorboard`` keeps every promise of its kind."""

from slmk.testing import ReporterContract


class TestTensorBoard(ReporterContract):
    """The contract."""

    component = "tensorboard"
