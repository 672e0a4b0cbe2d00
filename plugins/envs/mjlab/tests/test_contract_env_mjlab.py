"""``mjlab`` keeps every promise of its kind."""

from typing import ClassVar

import pytest

from slmk.testing import EnvContract

pytest.importorskip("mjlab", reason="mjlab has an environment of its own: .venv-mjlab")


class TestMjlab(EnvContract):
    """The contract."""

    component = "mjlab"
    options: ClassVar = {"id": "Mjlab-Cartpole-Balance", "overrides": {"episode_length_s": 0.2, "decimation": 1}}
