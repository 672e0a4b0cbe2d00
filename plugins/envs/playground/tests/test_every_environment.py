"""All of Playground behind the contract: minutes to compile for a robot, so it runs in `make nightly`."""

import pytest
import torch

from slmk.testing.env_checks import ENV_CHECKS
from slmk_env_playground import PlaygroundConfig

pytest.importorskip("mujoco_playground")
PlaygroundConfig(id="").prepare()

from mujoco_playground import registry  # noqa: E402

from slmk_env_playground.backend import PlaygroundEnv  # noqa: E402


@pytest.mark.nightly
@pytest.mark.parametrize("name", registry.ALL_ENVS)
def test_the_contract_holds(name):
    """Every check passes with episodes of 20 steps."""

    def create(num_envs, seed):
        config = PlaygroundConfig(id=name, num_envs=num_envs, max_episode_steps=20, impl="jax")
        return PlaygroundEnv(config, device=torch.device("cpu"), seed=seed)

    for check in ENV_CHECKS:
        check(create)
