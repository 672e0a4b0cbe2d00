"""``gymnasium`` keeps every promise of its kind."""

from typing import ClassVar

from slmk.testing import EnvContract


class TestGymnasium(EnvContract):
    """The contract."""

    component = "gymnasium"
    options: ClassVar = {"id": "CartPole-v1"}
