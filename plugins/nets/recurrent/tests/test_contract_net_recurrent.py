"""``recurrent`` keeps every promise of its kind, with either cell."""

from typing import ClassVar

from slmk.testing import NetworkContract


class TestGRU(NetworkContract):
    """The contract."""

    component = "recurrent"


class TestLSTM(NetworkContract):
    """The same, with the other cell and layers all round it."""

    component = "recurrent"
    options: ClassVar = {"cell": "lstm", "encoder": [16, 16], "head": [16], "window": 8}
