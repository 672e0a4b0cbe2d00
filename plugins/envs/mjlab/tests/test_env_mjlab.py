"""mjlab's own tasks behind the contract, and mistakes in their options."""

import os
import random

import numpy as np
import pytest
import torch

from slmk.errors import CheckpointError, SpecError
from slmk.testing.checkpoints import through_a_file
from slmk.toolbox import room
from slmk_env_mjlab import MjlabConfig

pytest.importorskip("mjlab", reason="mjlab has an environment of its own: .venv-mjlab")

from slmk_env_mjlab.backend import MjlabEnv

CPU = torch.device("cpu")
CARTPOLE, GO1 = "Mjlab-Cartpole-Balance", "Mjlab-Velocity-Flat-Unitree-Go1"
CUBE = "Mjlab-Lift-Cube-Yam"


def make(id=CARTPOLE, num_envs=3, seed=0, **options):
    return MjlabEnv(MjlabConfig(id=id, num_envs=num_envs, **options), device=CPU, seed=seed)


def pushes(count, size, seed=1):
    return torch.randn(count, size, 1, generator=torch.Generator().manual_seed(seed))


def test_steps_equal_mjlabs_own(monkeypatch):
    """The same seed and actions give mjlab's observations and rewards; the last one of an episode is the true one."""
    from mjlab.envs import ManagerBasedRlEnv
    from mjlab.tasks.registry import load_env_cfg

    env = make(seed=5, overrides={"episode_length_s": 0.5})
    assert env.info.max_episode_steps == 10
    first = env.reset()
    cfg = load_env_cfg(CARTPOLE)
    cfg.scene.num_envs = 3
    plain = ManagerBasedRlEnv(cfg, device="cpu")
    obs, _ = plain.reset(seed=5)
    assert torch.equal(first["actor"], obs["actor"])
    for index, action in enumerate(pushes(10, 3)):
        step = env.step(action)
        obs, reward, *_ = plain.step(action)
        assert torch.equal(step.final_obs["actor"], obs["actor"])
        assert torch.equal(step.reward, reward)
        assert step.truncated.tolist() == [index == 9] * 3
    assert not torch.equal(step.obs["actor"], step.final_obs["actor"])
    assert env.step(action).final_obs["actor"].shape == (3, 5)
    assert list(env.metrics()) == ["env/Episode_Reward/smooth_reward", "env/Episode_Termination/time_out"]


def test_roles_and_actions_are_the_tasks():
    """Groups by the task's training configuration; actions without bounds, unless there is an option for them."""
    env = make(clip_actions=1.0)
    assert env.info.role_groups == {"actor": ("actor",), "critic": ("critic",)}
    assert env.info.action_space.high == 1
    assert make().info.action_space.high == np.inf


def test_random_streams_are_the_environments_own():
    """Another environment beside it changes nothing, and nobody else's generators move."""
    alone, beside, other = make(seed=1), make(seed=1), make(seed=2)
    expected = [alone.reset(), *(alone.step(a).obs for a in pushes(3, 3))]
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate(), dict(os.environ)
    found = [beside.reset()]
    for action in pushes(3, 3):
        other.reset()
        found.append(beside.step(action).obs)
    for a, b in zip(expected, found, strict=True):
        assert torch.equal(a["actor"], b["actor"])
    after = torch.get_rng_state(), np.random.get_state()[1], random.getstate(), dict(os.environ)
    assert torch.equal(before[0], after[0])
    assert np.array_equal(before[1], after[1])
    assert before[2:] == after[2:]


def test_evaluation_plays_with_the_time_limit_of_training():
    """mjlab's configuration for playing is endless and has no noise."""
    config = MjlabConfig(id=CARTPOLE, reward_scale=0.1, overrides={"episode_length_s": 1.0}).for_evaluation(2)
    assert (config.num_envs, config.reward_scale, config.play) == (2, 1.0, True)
    env = MjlabEnv(config, device=CPU, seed=0)
    assert env.info.max_episode_steps == 20
    assert not env._env.cfg.observations["actor"].enable_corruption
    assert make()._env.cfg.observations["actor"].enable_corruption


@pytest.mark.parametrize(
    ("options", "path", "words"),
    [
        ({"id": "Mjlab-Cartpole-Balence"}, "env.id", "did you mean 'Mjlab-Cartpole-Balance'"),
        ({"overrides": {"sim.mujoco.timestap": 0.1}}, "env.overrides.sim.mujoco.timestap", "did you mean 'timestep'"),
        ({"overrides": {"decimation": "two"}}, "env.overrides.decimation", "a whole number"),
        ({"overrides": {"auto_reset": True}}, "env.overrides.auto_reset", "it has to be off"),
        ({"overrides": {"sim.mujoco.disableflags": ["contct"]}}, "env", "Unknown disable flag 'contct'"),
    ],
)
def test_mistakes_are_problems_of_the_spec(options, path, words):
    """Also what mjlab itself refuses."""
    with pytest.raises(SpecError) as caught:
        make(**options)
    (problem,) = caught.value.problems
    assert problem.path == path
    assert words in str(problem)


def test_more_environments_than_there_is_memory_for_are_refused(monkeypatch):
    """With how many would fit: poles of some 19 KB each, before the simulation is made."""

    def made(*_, **__):
        raise AssertionError("the simulation was made")

    monkeypatch.setattr("slmk_env_mjlab.make.ManagerBasedRlEnv", made)
    monkeypatch.setattr(room, "free_memory", lambda device: 2**20)
    with pytest.raises(SpecError, match="1,024 environments need about") as caught:
        make(num_envs=1024)
    assert 50 <= int(caught.value.problems[0].hint.removeprefix("there is room for ")) <= 60


def test_pictures_show_the_task():
    """By the task's own camera, and none without the option."""
    env = make(render=True)
    env.reset()
    before = env.render()
    assert before.dtype == np.uint8
    assert before.ndim == 3
    assert before.std() > 10
    for _ in range(5):
        env.step(torch.ones(3, 1))
    assert (env.render() != before).any()
    env.close()
    assert make().render() is None


def test_the_state_of_other_environments_is_refused():
    """Four environments cannot go on from the state of three, nor a quadruped from that of a pole."""
    three, four = make(), make(num_envs=4)
    three.reset()
    with pytest.raises(CheckpointError, match="another task"):
        four.load_state_dict(three.state_dict())


def test_curricula_outlive_a_restart_of_all_episodes():
    """mjlab counts steps for them; a reset with a seed does not set the count back."""
    env = make()
    env.reset()
    for action in pushes(4, 3):
        env.step(action)
    env.reset(7)
    assert env._env.common_step_counter == 4


@pytest.mark.slow
def test_a_robot_on_its_feet_goes_on_bit_for_bit():
    """Contacts, sensors with memory, commands, friction of each robot: Go1 repeats 20 steps from a state in a file."""
    env = make(GO1, num_envs=2, seed=3, overrides={"episode_length_s": 0.3})
    assert {name: space.shape for name, space in env.info.observation_spaces.items()} == {
        "actor": (48,),
        "critic": (72,),
    }
    env.reset()
    generator = torch.Generator().manual_seed(0)
    actions = torch.randn(31, 2, *env.info.action_space.shape, generator=generator)
    for action in actions[:11]:
        env.step(action)
    state = through_a_file(env.state_dict())
    straight = [env.step(action) for action in actions[11:]]
    assert any(step.truncated.any() for step in straight)
    expected = env.metrics()
    other = make(GO1, num_envs=2, seed=4, overrides={"episode_length_s": 0.3})
    other.reset()  # As a run does before it loads a checkpoint.
    other.load_state_dict(state)
    for index, (action, step) in enumerate(zip(actions[11:], straight, strict=True)):
        again = other.step(action)
        assert torch.equal(again.reward, step.reward), index
        for name, x in step.final_obs.items():
            assert torch.equal(again.final_obs[name], x), (index, name)
            assert torch.equal(again.obs[name], step.obs[name]), (index, name)
    assert other.metrics() == expected
    assert "env/Episode_Reward/track_linear_velocity" in expected


@pytest.mark.slow
def test_a_sensor_that_observations_do_not_read_is_restored():
    """Only a termination reads whether the arm touches the ground, so a reset leaves that sensor without data."""
    env, other = make(CUBE, num_envs=2, seed=3), make(CUBE, num_envs=2, seed=4)
    generator = torch.Generator().manual_seed(0)
    actions = torch.randn(8, 2, *env.info.action_space.shape, generator=generator)
    env.reset()
    for action in actions[:3]:
        env.step(action)
    other.reset()
    other.load_state_dict(through_a_file(env.state_dict()))
    for action in actions[3:]:
        step, again = env.step(action), other.step(action)
        assert torch.equal(again.reward, step.reward)
        assert torch.equal(again.final_obs["critic"], step.final_obs["critic"])
