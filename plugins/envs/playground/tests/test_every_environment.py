"""All of Playground behind the contract: minutes to compile for a robot, so it runs in `make nightly`."""

import pytest
import torch

from slmk.testing.env_checks import ENV_CHECKS
from slmk_env_playground import PlaygroundConfig

pytest.importorskip("mujoco_playground")
PlaygroundConfig(id="").prepare()

import jax  # noqa: E402
from mujoco_playground import registry  # noqa: E402

from slmk_env_playground.backend import PlaygroundEnv  # noqa: E402

ON_JAX = [{"id": name, "impl": "jax"} for name in registry.ALL_ENVS]
ON_WARP = [
    {"id": "BallInCup", "impl": "warp", "overrides": {"naconmax": 64}},
    {"id": "CartpoleBalance", "vision": True},
    {"id": "PandaPickCubeCartesian", "vision": True},
]


@pytest.fixture(autouse=True)
def few_programs():
    """Forget what was compiled: each leaves a thousand mappings of memory or more; a process may have 65,530."""
    yield
    jax.clear_caches()


@pytest.mark.nightly
@pytest.mark.parametrize(
    "options",
    ON_JAX + ON_WARP,
    ids=lambda options: options["id"] + "".join(f"-{name}" for name in options if name != "id"),
)
def test_the_contract_holds(options):
    """Every check passes with episodes of 20 steps."""

    def create(num_envs, seed):
        config = PlaygroundConfig(**options, num_envs=num_envs, max_episode_steps=20)
        return PlaygroundEnv(config, device=torch.device("cpu"), seed=seed)

    for check in ENV_CHECKS:
        check(create)


@pytest.mark.nightly
def test_warp_does_not_print_in_each_step(capfd):
    """That a solver with one iteration took one is no news."""
    options = {"id": "BallInCup", "impl": "warp", "overrides": {"naconmax": 64}}
    env = PlaygroundEnv(PlaygroundConfig(**options, num_envs=2), device=torch.device("cpu"), seed=0)
    env.reset()
    for _ in range(20):
        env.step(torch.ones(2, 2))
    assert "limit reached" not in capfd.readouterr().out
