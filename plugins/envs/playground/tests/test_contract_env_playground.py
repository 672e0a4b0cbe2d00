"""``playground`` keeps every promise of its kind."""

from typing import ClassVar

from slmk.testing import EnvContract


class TestPlayground(EnvContract):
    """The contract."""

    component = "playground"
    options: ClassVar = {"id": "CartpoleBalance", "max_episode_steps": 20}
