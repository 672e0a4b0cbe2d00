"""``envpool`` keeps every promise of its kind."""

from typing import ClassVar

from slmk.testing import EnvContract


class TestEnvPool(EnvContract):
    """The contract."""

    component = "envpool"
    options: ClassVar = {"id": "CartPole-v1"}
