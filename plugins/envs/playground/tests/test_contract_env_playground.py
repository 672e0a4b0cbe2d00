"""``playground`` keeps every promise of its kind."""

from typing import ClassVar

import pytest

from slmk.testing import EnvContract

pytestmark = pytest.mark.xdist_group("playground")


class TestPlayground(EnvContract):
    """The contract."""

    component = "playground"
    options: ClassVar = {"id": "CartpoleBalance", "max_episode_steps": 20}
