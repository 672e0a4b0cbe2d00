"""Every task of mjlab behind the contract; a minute each, since each compiles kernels of its own."""

import pytest
import torch

pytest.importorskip("mjlab", reason="mjlab has an environment of its own: .venv-mjlab")

import mjlab.tasks  # noqa: F401 - registers them
from mjlab.tasks.registry import list_tasks

from slmk.errors import SpecError
from slmk.testing.env_checks import ENV_CHECKS
from slmk_env_mjlab import MjlabConfig
from slmk_env_mjlab.backend import MjlabEnv

TRACKING = [name for name in list_tasks() if "Tracking" in name]
"""These need a recorded motion, which does not come with mjlab."""


@pytest.mark.nightly
@pytest.mark.parametrize("name", [name for name in list_tasks() if name not in TRACKING])
def test_the_contract_holds(name):
    """Every check passes with episodes of some 20 steps."""

    def create(num_envs, seed):
        config = MjlabConfig(id=name, num_envs=num_envs, overrides={"episode_length_s": 0.4})
        return MjlabEnv(config, device=torch.device("cpu"), seed=seed)

    for check in ENV_CHECKS:
        check(create)


@pytest.mark.parametrize("name", TRACKING)
def test_a_task_that_follows_a_motion_asks_for_one(name):
    """The message says where to name it, rather than that a file without a name is not there."""
    with pytest.raises(SpecError, match=r"follows a recorded motion, and none is given.*commands\.motion\.motion_file"):
        MjlabEnv(MjlabConfig(id=name, num_envs=2), device=torch.device("cpu"), seed=0)
