"""All of Playground behind the contract: minutes to compile for a robot, so it runs in `make nightly`."""

import pytest
import torch

from slmk.testing import Subject, check_subject, checks_of
from slmk_env_playground import PlaygroundConfig

pytest.importorskip("mujoco_playground")
PlaygroundConfig(id="").prepare()

import jax  # noqa: E402
import numpy as np  # noqa: E402
from mujoco_playground import registry  # noqa: E402

from slmk_env_playground.backend import PlaygroundEnv  # noqa: E402
from slmk_env_playground.simulation import groups  # noqa: E402

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
    subject = Subject.find("env", "playground", options={**options, "max_episode_steps": 20})
    report = check_subject(subject, checks_of("env", common=False))
    assert report.ok, str(report)


def assert_close(found, expected, name):
    """Two compilers' ways to add up: contacts of robots magnify the last bits of float32 within one step."""
    expected = np.asarray(expected)
    rtol, atol = (1e-4, 1e-5) if name == "CartpoleBalance" else (1e-3, 1e-3 * max(1.0, np.abs(expected).max()))
    np.testing.assert_allclose(np.asarray(found), expected, rtol=rtol, atol=atol)


def beginnings(env):
    """Of eight new episodes: what of ``info`` all have alike, by its place among the leaves; whether poses differ."""
    states = jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.PRNGKey(0), 8))
    infos, poses = map(np.asarray, jax.tree.leaves(states.info)), np.asarray(states.data.qpos)
    return {place: x[0] for place, x in enumerate(infos) if (x == x[:1]).all()}, (poses != poses[:1]).any()


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name == "CartpoleBalance" else pytest.mark.nightly) for name in registry.ALL_ENVS],
)
def test_steps_are_playgrounds_own_one_at_a_time(name):
    """From the same states, the same actions give what `env.step` gives for each environment alone: the observation
    that an episode ended with, too. A new episode then begins with an `info` that tells nothing of the old one."""
    config = PlaygroundConfig(id=name, impl="jax", num_envs=2, max_episode_steps=6)
    env = PlaygroundEnv(config, device=torch.device("cpu"), seed=3)
    env.reset()
    simulation, inner = env._simulation, env._simulation.env
    alone, (constant, differ) = jax.jit(inner.step), beginnings(inner)
    ages, poses = [0, 0], []
    generator = torch.Generator().manual_seed(0)
    for _ in range(13):
        before = [simulation.state_of(env._carry, row) for row in range(2)]
        action = torch.rand(2, inner.action_size, generator=generator) * 3 - 1.5
        out = env.step(action)
        for row, state in enumerate(before):
            ages[row] += 1
            expected = alone(state, np.clip(action[row].numpy(), -1, 1))
            for group, x in groups(expected.obs).items():
                assert_close(out.final_obs[group][row], x, name)
            assert_close(out.reward[row], expected.reward, name)
            assert out.terminated[row] == bool(expected.done)
            assert out.truncated[row] == (ages[row] == 6 and not expected.done)
            if out.terminated[row] or out.truncated[row]:
                new, ages[row] = simulation.state_of(env._carry, row), 0
                poses.append(np.asarray(new.data.qpos).tobytes())
                info = jax.tree.leaves(new.info)
                assert all((np.asarray(info[place]) == x).all() for place, x in constant.items())
                for group, x in groups(new.obs).items():
                    np.testing.assert_array_equal(out.obs[group][row], x)
    assert len(poses) >= 4
    assert (len(set(poses)) > 1) == differ


@pytest.mark.nightly
def test_warp_does_not_print_in_each_step(capfd):
    """That a solver with one iteration took one is no news."""
    options = {"id": "BallInCup", "impl": "warp", "overrides": {"naconmax": 64}}
    env = PlaygroundEnv(PlaygroundConfig(**options, num_envs=2), device=torch.device("cpu"), seed=0)
    env.reset()
    for _ in range(20):
        env.step(torch.ones(2, 2))
    assert "limit reached" not in capfd.readouterr().out
