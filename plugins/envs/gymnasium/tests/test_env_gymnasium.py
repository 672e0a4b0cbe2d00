"""The Gymnasium backend keeps the contract, and agrees with Gymnasium used by hand, one environment at a time."""

import subprocess
import sys
import time
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from slmk.errors import CheckpointError, RunError, SpecError
from slmk.testing import Subject, check_subject, checks_of
from slmk.testing.checkpoints import through_a_file
from slmk.testing.env_checks import check_env_state_round_trip
from slmk.testing.env_steps import random_actions
from slmk_env_gymnasium import GymnasiumConfig, choose
from slmk_env_gymnasium.backend import GymnasiumEnv


class Sampler(gym.Env):
    """Ends or is cut at random, with nested observations of every kind and two discrete actions at once."""

    observation_space = spaces.Dict(
        {
            "body": spaces.Dict({"pose": spaces.Box(-1, 1, (2, 3), np.float64), "feet": spaces.MultiBinary(4)}),
            "image": spaces.Box(0, 255, (5, 5, 1), np.uint8),
            "mode": spaces.Discrete(3, start=1),
            "gears": spaces.MultiDiscrete([2, 5]),
        }
    )
    action_space = spaces.MultiDiscrete([3, 2])

    def reset(self, *, seed=None, options=None):
        """Draw a first observation."""
        super().reset(seed=seed)
        return self._observe(), {}

    def step(self, action):
        """Draw another one."""
        assert self.action_space.contains(action)
        return self._observe(), float(action.sum()), self.np_random.random() < 0.2, self.np_random.random() < 0.2, {}

    def _observe(self):
        rng = self.np_random
        return {
            "body": {"pose": rng.random((2, 3)), "feet": rng.integers(0, 2, 4, np.int8)},
            "image": rng.integers(0, 256, (5, 5, 1), np.uint8),
            "mode": np.int64(rng.integers(1, 4)),
            "gears": rng.integers(0, (2, 5)),
        }


class Bits(gym.Env):
    """Takes bits, returns their number so far, and knows how to save itself."""

    observation_space = spaces.Box(0, np.inf, (1,), np.float64)
    action_space = spaces.MultiBinary(3)

    def reset(self, *, seed=None, options=None):
        """Count from zero."""
        super().reset(seed=seed)
        self.count = 0.0
        return np.array([self.count]), {}

    def step(self, action):
        """Count on."""
        assert self.action_space.contains(action)
        self.count += 1 + action.sum()
        return np.array([self.count]), 1.0, self.count > 20, False, {}

    def state_dict(self):
        """The count."""
        return {"count": self.count}

    def load_state_dict(self, state):
        """Count on from there."""
        self.count = state["count"]


def own_vector(mode):
    """An entry point for environments vectorised by their author, here with Gymnasium's own class."""
    return lambda num_envs, max_episode_steps=200: SyncVectorEnv(
        [lambda: gym.make("Pendulum-v1", max_episode_steps=max_episode_steps)] * num_envs,
        copy=False,
        autoreset_mode=mode,
    )


class Strict(gym.Env):
    """Allows other actions in each step, and takes no others."""

    def __init__(self, action_space):
        self.action_space = action_space
        sizes = [action_space.n] if isinstance(action_space, spaces.Discrete) else action_space.nvec
        self.sizes = [int(size) for size in sizes]
        self.observation_space = spaces.Dict({"mask": spaces.MultiBinary(sum(self.sizes))})

    def reset(self, *, seed=None, options=None):
        """Draw a mask."""
        super().reset(seed=seed)
        return self._draw(), {}

    def step(self, action):
        """Draw another one."""
        chosen = np.atleast_1d(action - self.action_space.start)
        assert all(mask[choice] for mask, choice in zip(self.masks, chosen, strict=True)), "that is forbidden"
        return self._draw(), 0.0, False, self.np_random.random() < 0.1, {}

    def _draw(self):
        self.masks = [np.eye(size, dtype=np.int8)[self.np_random.integers(size)] for size in self.sizes]
        return {"mask": np.concatenate(self.masks)}


class Scribbler(gym.Env):
    """Takes actions in double precision within ±0.1 only, and writes into them."""

    observation_space = spaces.Box(-1, 1, (1,))
    action_space = spaces.Box(-0.1, 0.1, (1,), np.float64)

    def reset(self, *, seed=None, options=None):
        """Draw a first observation."""
        super().reset(seed=seed)
        return self.np_random.random(1, np.float32), {}

    def step(self, action):
        """Leave zeros."""
        assert self.action_space.contains(action)
        action *= 0
        return self.np_random.random(1, np.float32), 0.0, False, False, {}


class Scribbler32(Scribbler):
    """Shares the memory of its actions with whoever has them as float32."""

    action_space = spaces.Box(-1, 1, (1,))


class Forgetting(gym.Env):
    """Has a mask in the info of resets only."""

    observation_space, action_space = spaces.Box(-1, 1, (1,)), spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        """With a mask."""
        return np.zeros(1, np.float32), {"mask": np.ones(2)}

    def step(self, action):
        """Without."""
        return np.zeros(1, np.float32), 0.0, False, False, {"steps": 1}


gym.register("SlmkSampler-v0", entry_point=Sampler)
gym.register("SlmkScribbler-v0", entry_point=Scribbler)
gym.register("SlmkScribbler32-v0", entry_point=Scribbler32)
gym.register("SlmkForgetting-v0", entry_point=Forgetting)
gym.register(
    "SlmkBlackjack-v0",
    entry_point="gymnasium.envs.toy_text.blackjack:BlackjackEnv",
    additional_wrappers=(gym.wrappers.FlattenObservation.wrapper_spec(),),
)
gym.register("SlmkStrict-v0", entry_point=Strict)
gym.register("SlmkBits-v0", entry_point=Bits)
for autoreset in AutoresetMode:
    gym.register(
        f"SlmkVector{autoreset.value}-v0",
        entry_point="gymnasium.envs.classic_control:PendulumEnv",
        vector_entry_point=own_vector(autoreset),
    )


def make(id, num_envs=4, seed=0, **options):
    """The backend on the CPU."""
    return GymnasiumEnv(GymnasiumConfig(id=id, num_envs=num_envs, **options), device=torch.device("cpu"), seed=seed)


CONTRACT = [
    ("CartPole-v1", "native", True),
    ("CartPole-v1", "sync", True),
    ("Acrobot-v1", "sync", True),
    ("Pendulum-v1", "sync", True),
    ("MountainCarContinuous-v0", "sync", True),
    ("FrozenLake-v1", "sync", True),
    ("LunarLander-v3", "sync", False),
    ("HalfCheetah-v5", "sync", True),
    ("Hopper-v5", "sync", True),
    ("Ant-v5", "sync", True),
    ("SlmkSampler-v0", "sync", False),
    ("SlmkBits-v0", "sync", True),
    ("SlmkBlackjack-v0", "sync", True),
    ("SlmkVectorSameStep-v0", "native", False),
    ("SlmkVectorDisabled-v0", "native", False),
]


@pytest.mark.parametrize(("id", "vectorization", "exact"), CONTRACT)
def test_the_contract_holds(id, vectorization, exact):
    """Every check passes with episodes of 20 steps, and exactness is claimed just where it is kept."""
    options = {"id": id, "vectorization": vectorization, "max_episode_steps": 20}
    report = check_subject(Subject.find("env", "gymnasium", options=options), checks_of("env", common=False))
    assert report.ok, str(report)
    assert report.of("skipped") == (["metrics"] if exact else ["metrics", "state_round_trip"])
    env = make(**options, num_envs=1)
    assert (env.choice, env.info.exact_state) == (vectorization, exact)
    env.close()


def replay(env, row, seed, script):
    """What one environment does by hand with the actions of one row: (obs, final, reward, terminated, truncated)."""
    first = env.reset(seed=seed + row)[0]
    yield first
    for action in script:
        obs, reward, terminated, truncated, _ = env.step(action[row].numpy()[()])
        final = obs
        if terminated or truncated:
            obs = env.reset()[0]
        yield obs, final, reward, terminated, truncated and not terminated


@pytest.mark.parametrize("id", ["CartPole-v1", "LunarLander-v3", "Hopper-v5", "FrozenLake-v1"])
def test_each_row_is_an_environment_stepped_by_hand(id):
    """Observations, final observations, rewards and ends equal a plain loop over `gymnasium.make`, step by step."""
    env = make(id, vectorization="sync", max_episode_steps=30, seed=7)
    first, script = env.reset(), [action for action, _ in zip(random_actions(env.info), range(80), strict=False)]
    steps = [env.step(action) for action in script]
    ends = 0
    for row in range(4):
        expected = replay(gym.make(id, max_episode_steps=30), row, 7, script)
        assert torch.equal(first["obs"][row], torch.as_tensor(next(expected)).to(first["obs"].dtype))
        for step, (obs, final, reward, terminated, truncated) in zip(steps, expected, strict=True):
            assert torch.equal(step.obs["obs"][row], torch.as_tensor(obs).to(step.obs["obs"].dtype))
            assert torch.equal(step.final_obs["obs"][row], torch.as_tensor(final).to(step.obs["obs"].dtype))
            assert step.reward[row] == np.float32(reward)
            assert (bool(step.terminated[row]), bool(step.truncated[row])) == (terminated, truncated)
            ends += terminated or truncated
    assert ends >= 8


@pytest.mark.parametrize("options", [{}, {"sutton_barto_reward": True}])
def test_native_cartpole_has_the_physics_of_gymnasium(options):
    """From the same state, Gymnasium's class computes the same observations, rewards and ends, bit for bit."""
    env, reference = make("CartPole-v1", 16, kwargs=options), CartPoleVectorEnv(num_envs=16, **options)
    assert env.choice == "native"
    env.reset(3)
    reference.reset(seed=3)
    ended = 0
    for action, _ in zip(random_actions(env.info), range(200), strict=False):
        reference.state = env._simulation._env.state.copy()
        reference.steps = env._simulation._env.steps.copy()
        reference.prev_done[:] = False
        obs, reward, terminated, truncated, _ = reference.step(action.numpy())
        step = env.step(action)
        assert np.array_equal(step.final_obs["obs"].numpy(), obs)
        assert np.array_equal(step.reward.numpy(), reward)
        assert np.array_equal(step.terminated.numpy(), terminated)
        assert np.array_equal(step.truncated.numpy(), truncated)
        ended += terminated.sum()
    assert ended > 50


@pytest.mark.parametrize("id", ["SlmkScribbler-v0", "SlmkScribbler32-v0"])
def test_an_action_stays_as_it_was(id):
    """What a memory is about to store is not the array into which the environment writes."""
    env = make(id, vectorization="sync")
    env.reset()
    action = torch.full((4, 1), 0.05)
    env.step(action)
    assert torch.equal(action, torch.full((4, 1), 0.05))


def test_the_bounds_of_actions_are_within_those_of_the_environment():
    """The float32 nearest to 0.1 is 0.100000001, which is not allowed; the next one below it is."""
    env = make("SlmkScribbler-v0", 1, vectorization="sync")
    low, high = env.info.action_space.low, env.info.action_space.high
    assert float(high[0]) == -float(low[0]) == pytest.approx(0.1, rel=1e-7)
    assert float(high[0]) < 0.1
    env.reset()
    for bound in (low, high):
        env.step(torch.from_numpy(bound)[None])


OLD = """
import os
from pathlib import Path
import gymnasium
import numpy as np

class Old(gymnasium.Env):
    observation_space, action_space = gymnasium.spaces.Box(0, 1, (1,)), gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        if seed is not None:
            self.random = np.random.RandomState(seed)
        return self.random.random_sample(1), {}

    def step(self, action):
        return self.random.random_sample(1), 0.0, False, False, {}

    def close(self):
        with Path(os.environ["SLMK_CLOSED"]).open("a") as file:
            print(os.getpid(), file=file)

def vector(num_envs):
    from gymnasium.vector import AutoresetMode, SyncVectorEnv
    return SyncVectorEnv([Old] * num_envs, autoreset_mode=AutoresetMode.SAME_STEP)

gymnasium.register("SlmkOld-v0", Old, vector_entry_point=vector)
"""
"""In a file of its own, since worker processes import it."""


@pytest.fixture
def old(tmp_path, monkeypatch):
    """The id of an environment that takes seeds of 32 bits only, and the file in which it notes that it is closed."""
    (tmp_path / "slmk_old.py").write_text(OLD)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("SLMK_CLOSED", str(tmp_path / "closed"))
    return "slmk_old:SlmkOld-v0", tmp_path / "closed"


@pytest.mark.parametrize("vectorization", ["sync", "async", "native"])
def test_seeds_that_an_environment_refuses_are_cut_to_31_bits(old, vectorization):
    """Those of a run have 63: of 2^61 + 5 there are 5 left for the first environment and 6 for the second."""
    env = make(old[0], 2, seed=2**61 + 5, vectorization=vectorization)
    expected = [np.random.RandomState(seed).random_sample(1).astype(np.float32) for seed in (5, 6)]
    assert np.array_equal(env.reset()["obs"].numpy(), expected)
    env.close()


def test_an_error_that_has_other_reasons_than_the_seed_is_not_hidden(old):
    """A negative seed is wrong in any number of bits."""
    with pytest.raises(ValueError, match="Seed must be between"):
        make(old[0], 1, vectorization="sync").reset(-1)


def test_workers_close_their_environments(old):
    """Those that were only measured when others are made, and those in the end, each in the process that has it."""
    id, closed = old
    env = make(id, 3, vectorization="async")
    pids = [process.pid for process, _ in env._simulation._workers]
    probe = [int(pid) for pid in closed.read_text().split()]
    assert set(pids).isdisjoint(probe)
    env._simulation.rebuild()
    measured = [int(pid) for pid in closed.read_text().split()][len(probe) :]
    assert len(measured) == 3
    assert set(measured) == set(pids)
    env.close()
    assert len(closed.read_text().split()) == len(probe) + 6


@pytest.mark.parametrize("mode", ["SameStep", "Disabled"])
def test_a_vectorised_environment_of_its_own_steps_like_single_ones(mode):
    """Whether it restarts rows itself or leaves that to the backend, steps equal those of separate environments."""
    native = make(f"SlmkVector{mode}-v0", max_episode_steps=10)
    single = make("Pendulum-v1", vectorization="sync", max_episode_steps=10)
    assert native.choice == "native"
    assert torch.equal(native.reset()["obs"], single.reset()["obs"])
    for action, _ in zip(random_actions(native.info), range(35), strict=False):
        a, b = native.step(action), single.step(action)
        assert torch.equal(a.obs["obs"], b.obs["obs"])
        assert torch.equal(a.final_obs["obs"], b.final_obs["obs"])
        assert torch.equal(a.truncated, b.truncated)


def test_a_vectorised_environment_that_spends_a_step_on_restarting_is_not_used():
    """`auto` steps single environments instead, and `native` is a problem of the spec."""
    assert make("SlmkVectorNextStep-v0", num_envs=1).choice == "sync"
    with pytest.raises(SpecError, match="no native vectorisation"):
        make("SlmkVectorNextStep-v0", vectorization="native")


def test_dict_observations_become_groups_of_the_right_type():
    """Nested keys are joined by a slash; doubles become float32, bytes stay, bits are bool, integers int64."""
    env = make("SlmkSampler-v0", num_envs=2)
    types = {name: (tuple(value.shape), value.dtype) for name, value in env.reset().items()}
    assert types == {
        "body/feet": ((2, 4), torch.bool),
        "body/pose": ((2, 2, 3), torch.float32),
        "gears": ((2, 2), torch.int64),
        "image": ((2, 5, 5, 1), torch.uint8),
        "mode": ((2,), torch.int64),
    }
    assert env.info.observation_spaces["body/pose"].dtype == np.float32


@pytest.fixture(scope="module")
def workers():
    """Five Hoppers in worker processes."""
    env = make("Hopper-v5", 5, vectorization="async", max_episode_steps=20)
    yield env
    env.close()


def test_async_steps_like_sync(workers):
    """Five environments in worker processes take the very steps that they take in this process."""
    sync = make("Hopper-v5", 5, vectorization="sync", max_episode_steps=20)
    assert workers.choice == "async"
    assert torch.equal(workers.reset(4)["obs"], sync.reset(4)["obs"])
    for action, _ in zip(random_actions(sync.info), range(50), strict=False):
        a, b = workers.step(action), sync.step(action)
        assert (a.final_obs is a.obs) == (b.final_obs is b.obs)
        assert torch.equal(a.obs["obs"], b.obs["obs"])
        assert torch.equal(a.final_obs["obs"], b.final_obs["obs"])
        assert torch.equal(a.reward, b.reward)
        assert torch.equal(a.terminated, b.terminated)


def test_async_state_goes_to_sync_and_back(workers):
    """The state saved from worker processes restores environments in this process, and the other way round."""
    sync = make("Hopper-v5", 5, vectorization="sync", max_episode_steps=20)
    workers.reset(1)
    actions = [action for action, _ in zip(random_actions(sync.info), range(12), strict=False)]
    workers.step(actions[0])
    sync.load_state_dict(workers.state_dict())
    assert all(torch.equal(workers.step(a).obs["obs"], sync.step(a).obs["obs"]) for a in actions)
    workers.load_state_dict(sync.state_dict())
    assert all(torch.equal(workers.step(a).obs["obs"], sync.step(a).obs["obs"]) for a in actions)


ORPHANS = """
import os, signal, sys, torch
from slmk_env_gymnasium import GymnasiumConfig
from slmk_env_gymnasium.backend import GymnasiumEnv
config = GymnasiumConfig(id="Pendulum-v1", num_envs=2, vectorization="async")
env = GymnasiumEnv(config, device=torch.device("cpu"), seed=0)
env.reset()
print(*(process.pid for process, _ in env._simulation._workers), flush=True)
sys.stdin.readline()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_workers_end_with_a_process_that_is_killed(tmp_path):
    """Workers of a script without a main guard start, and none is left after ``kill -9`` of that script."""
    script = tmp_path / "unguarded.py"
    script.write_text(ORPHANS)
    with subprocess.Popen([sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert pids
        assert all(_alive(pid) for pid in pids)
        parent.communicate("\n")
    deadline = time.monotonic() + 10
    while any(_alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(_alive(pid) for pid in pids)


def _alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_an_exception_in_a_worker_is_reported(workers):
    """An error of an environment in a worker process arrives here with its reason."""
    with pytest.raises(RunError, match=r"could not broadcast|Action dimension"):
        workers.step(torch.zeros(5, 9))
    workers.reset()


def test_auto_measures_only_where_there_is_a_choice(monkeypatch):
    """One environment, or one core, means sync; CartPole has a native class; what is measured changes no step."""
    assert make("Pendulum-v1", 1).choice == "sync"
    assert make("CartPole-v1", 1).choice == "sync"
    assert make("CartPole-v1", 4).choice == "native"
    monkeypatch.setattr(choose, "cores", lambda: 1)
    assert make("HalfCheetah-v5", 16).choice == "sync"


@pytest.mark.parametrize("action_space", [spaces.Discrete(7, start=3), spaces.MultiDiscrete([2, 5], start=[1, 0])])
def test_measuring_takes_allowed_actions_only(monkeypatch, action_space):
    """Environments may take a forbidden action for an error: here all but one of each choice are forbidden."""
    monkeypatch.setattr(choose, "cores", lambda: 2)
    env = make("SlmkStrict-v0", 3, kwargs={"action_space": action_space})
    assert env.choice in ("sync", "async")
    env.close()


def test_the_mask_of_an_info_is_a_group():
    """Taxi says in `info` which of its six actions do something; of the last observation of an episode, too."""
    env = make("Taxi-v4", 4, mask="action_mask", vectorization="sync")
    assert {name: space.shape for name, space in env.info.observation_spaces.items()} == {"obs": (), "mask": (6,)}
    assert env.info.exact_state
    by_hand = gym.make("Taxi-v4").unwrapped
    obs, ends = env.reset(), 0
    generator = torch.Generator().manual_seed(0)
    for _ in range(250):
        expected = [by_hand.action_mask(int(state)) for state in obs["obs"]]
        assert obs["mask"].int().tolist() == [mask.tolist() for mask in expected]
        step = env.step(obs["mask"].float().multinomial(1, generator=generator).squeeze(-1))
        finals = [by_hand.action_mask(int(state)).tolist() for state in step.final_obs["obs"]]
        assert step.final_obs["mask"].int().tolist() == finals
        obs, ends = step.obs, ends + int((step.terminated | step.truncated).sum())
    assert ends


@pytest.mark.parametrize(
    ("env_id", "words"),
    [("Pendulum-v1", "only Discrete actions can be masked, not Box"), ("Taxi-v4", "no such key .*it has action_mask")],
)
def test_a_mask_that_is_not_there_is_a_problem(env_id, words):
    """At the option that asks for it."""
    with pytest.raises(SpecError, match=rf"env\.mask: .*{words}"):
        make(env_id, 2, mask="allowed", vectorization="sync")


def test_a_mask_that_is_missing_in_a_step_fails_the_run():
    """The spec was right so far, so that it is not to blame."""
    env = make("SlmkForgetting-v0", 1, mask="mask", vectorization="sync")
    env.reset()
    with pytest.raises(RunError, match=r"the info of this step has no 'mask', which env\.mask names; it has steps"):
        env.step(torch.zeros(1, dtype=torch.long))


def test_what_was_measured_leaves_no_trace():
    """The environments that the run gets were never stepped: they agree with those of an explicit choice."""
    measured, explicit = make("HalfCheetah-v5", 3), make("HalfCheetah-v5", 3, vectorization="sync")
    assert torch.equal(measured.reset()["obs"], explicit.reset()["obs"])
    for action, _ in zip(random_actions(explicit.info), range(5), strict=False):
        assert torch.equal(measured.step(action).obs["obs"], explicit.step(action).obs["obs"])
    measured.close()


@pytest.mark.parametrize(
    ("options", "path", "words"),
    [
        ({"id": "CartPol-v1"}, "env.id", "did you mean 'CartPole-v1'"),
        ({"id": "HalfCheetah-v2"}, "env.id", "cannot be created"),
        ({"id": "nowhere:Thing-v0"}, "env.id", "No module named 'nowhere'"),
        ({"id": "Thing-v0", "imports": ("nowhere",)}, "env.imports", "No module named 'nowhere'"),
        ({"id": "Hopper-v5", "kwargs": {"helthy_reward": 1.0}}, "env.kwargs", "helthy_reward"),
        ({"id": "CartPole-v1", "kwargs": {"gravity": 1.0}}, "env.kwargs", "gravity"),
        ({"id": "FrozenLake-v1", "kwargs": {"map_name": "9x9"}}, "env.kwargs", "KeyError: '9x9'"),
        ({"id": "LunarLander-v3", "kwargs": {"gravity": 1.0}}, "env.kwargs", "gravity (current value: 1.0)"),
        ({"id": "HalfCheetah-v5", "kwargs": {"xml_file": "no.xml"}}, "env.kwargs", "no.xml does not exist"),
        ({"id": "SlmkStrict-v0"}, "env.kwargs", "missing 1 required positional argument: 'action_space'"),
        ({"id": "CartPole-v1", "kwargs": {"max_episode_steps": 7}}, "env.kwargs.max_episode_steps", "set env.max_ep"),
        ({"id": "CartPole-v1", "kwargs": {"render_mode": "human"}}, "env.kwargs.render_mode", "set env.render instead"),
        ({"id": "Blackjack-v1"}, "env.id", "the observation is a Tuple space"),
        ({"id": "Pendulum-v1", "vectorization": "native"}, "env.vectorization", "no native vectorisation"),
    ],
)
def test_what_cannot_be_made_is_one_problem_of_the_spec(options, path, words):
    """Each mistake is a `SpecError` with the path of the key and words that help."""
    with pytest.raises(SpecError) as caught:
        make(**options)
    (problem,) = caught.value.problems
    assert problem.path == path
    assert words in str(problem)


def test_an_id_may_name_the_module_that_registers_it(tmp_path, monkeypatch):
    """Both ``module:Name-v0`` and ``imports`` import a user's package first."""
    (tmp_path / "my_tasks.py").write_text(
        "import gymnasium\ngymnasium.register('MyTask-v0', 'gymnasium.envs.classic_control:PendulumEnv')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert make("my_tasks:MyTask-v0", num_envs=1).reset()["obs"].shape == (1, 3)
    assert make("MyTask-v0", num_envs=1, imports=("my_tasks",)).reset()["obs"].shape == (1, 3)


def test_action_repeat_adds_rewards_and_shortens_the_limit():
    """With each action applied three times, ten steps of the environment make four: 3 + 3 + 3 + 1."""
    repeated, plain = make("Pendulum-v1", 1, action_repeat=3, max_episode_steps=10), gym.make("Pendulum-v1")
    assert repeated.info.max_episode_steps == 4
    repeated.reset(0)
    plain.reset(seed=0)
    action = torch.tensor([[0.5]])
    for times, cut in ((3, False), (3, False), (3, False), (1, True)):
        rewards = [plain.step(action[0].numpy())[1] for _ in range(times)]
        step = repeated.step(action)
        assert step.reward.item() == pytest.approx(sum(rewards), rel=1e-6)
        assert bool(step.truncated) is cut


def test_evaluation_has_plain_rewards_and_does_not_measure():
    """It is too short to pay for that."""
    evaluation = GymnasiumConfig(id="Pendulum-v1", reward_scale=0.1).for_evaluation(10)
    assert (evaluation.num_envs, evaluation.reward_scale, evaluation.vectorization) == (10, 1.0, "sync")


def test_the_constructor_seeds_the_first_reset_only():
    """Without a seed, the first reset starts from the constructor's and the next one goes on drawing."""
    env, other = make("Pendulum-v1", seed=5), make("Pendulum-v1", seed=6)
    first = env.reset()["obs"]
    assert torch.equal(first, other.reset(5)["obs"])
    assert not torch.equal(first, env.reset()["obs"])


@pytest.mark.parametrize("id", ["CartPole-v1", "Pendulum-v1"])
def test_render_gives_a_picture_only_if_asked(id):
    """With ``render = true`` there is an RGB picture of the first environment, and None without."""
    env = make(id, 2, render=True, vectorization="auto" if id == "CartPole-v1" else "sync")
    env.reset()
    picture = env.render()
    assert picture.dtype == np.uint8
    assert picture.ndim == 3
    assert picture.shape[2] == 3
    env.close()
    plain = make(id, 1)
    plain.reset()
    assert plain.render() is None


def test_state_is_refused_where_it_cannot_be_taken():
    """Box2D has no state to give; one from elsewhere is an error, and an empty one is none."""
    env = make("LunarLander-v3", 1)
    assert env.state_dict() == {}
    env.load_state_dict({})
    with pytest.raises(CheckpointError, match="cannot be restored"):
        env.load_state_dict({"envs": []})


def test_state_is_exact_through_wrappers_of_gymnasium():
    """A rescaled and a repeated action leave the state exact; a frame stack, whose frames are not saved, does not."""
    gym.register(
        "SlmkRescaled-v0",
        entry_point="gymnasium.envs.classic_control:PendulumEnv",
        max_episode_steps=20,
        additional_wrappers=(gym.wrappers.RescaleAction.wrapper_spec(min_action=-1.0, max_action=1.0),),
    )
    gym.register(
        "SlmkStacked-v0",
        entry_point="gymnasium.envs.classic_control:PendulumEnv",
        additional_wrappers=(gym.wrappers.FrameStackObservation.wrapper_spec(stack_size=2),),
    )
    options = {"id": "SlmkRescaled-v0", "action_repeat": 2, "vectorization": "sync"}
    check_env_state_round_trip(Subject.find("env", "gymnasium", options=options))
    assert make("SlmkRescaled-v0", 1).info.exact_state
    assert not make("SlmkStacked-v0", 1).info.exact_state


def test_lists_are_part_of_the_state():
    """The cards of Blackjack go back into another game, which is another one until then."""
    env, other = make("SlmkBlackjack-v0", 8, vectorization="sync"), make("SlmkBlackjack-v0", 8, 1, vectorization="sync")
    assert not torch.equal(env.reset()["obs"], other.reset()["obs"])
    other.load_state_dict(through_a_file(env.state_dict()))
    for action, _ in zip(random_actions(env.info), range(10), strict=False):
        assert torch.equal(env.step(action).final_obs["obs"], other.step(action).final_obs["obs"])


def test_a_bug_in_an_environment_is_not_a_problem_of_the_spec():
    """Without arguments to blame, the error comes through as it is."""
    gym.register("SlmkBroken-v0", entry_point=lambda: {}["bug"])
    with pytest.raises(KeyError, match="bug"):
        make("SlmkBroken-v0", 1)


def test_the_plugin_module_imports_nothing_heavy():
    """Listing and checking import neither torch nor numpy nor Gymnasium."""
    code = "import sys, slmk_env_gymnasium; print([m for m in ('torch', 'numpy', 'gymnasium') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_worker_that_dies_is_reported():
    """A killed worker is a `RunError`, not a hanging run or a bare pipe error."""
    env = make("Pendulum-v1", 2, vectorization="async")
    env.reset()
    process, _ = env._simulation._workers[-1]
    process.kill()
    process.wait()
    with pytest.raises(RunError, match="worker process of the environments died"):
        env.step(torch.zeros(2, 1))
    env.close()


@pytest.mark.parametrize("vectorization", ["native", "sync"])
def test_only_what_is_kept_is_observed(vectorization):
    """With ``keep`` observations are those entries of the whole ones, in the order named, final ones included."""
    options = {"vectorization": vectorization, "max_episode_steps": 8}
    part, whole = make("CartPole-v1", keep={"obs": (2, 0)}, **options), make("CartPole-v1", **options)
    assert part.info.observation_spaces["obs"].shape == (2,)
    assert part.info.observation_spaces["obs"].high[1] == whole.info.observation_spaces["obs"].high[0]
    assert torch.equal(part.reset()["obs"], whole.reset()["obs"][:, [2, 0]])
    for action, _ in zip(random_actions(whole.info), range(12), strict=False):
        a, b = part.step(action), whole.step(action)
        for mine, all_of_it in ((a.obs, b.obs), (a.final_obs, b.final_obs)):
            assert torch.equal(mine["obs"], all_of_it["obs"][:, [2, 0]])
            assert mine["obs"].is_contiguous()
        assert (a.final_obs is a.obs) == (b.final_obs is b.obs)


def test_groups_that_keep_does_not_name_stay_whole():
    """Of nested observations one group loses rows, the others nothing."""
    part, whole = (make("SlmkSampler-v0", keep=keep) for keep in ({"body/pose": (1,)}, {}))
    one, other = part.reset(0), whole.reset(0)
    assert torch.equal(one["body/pose"], other["body/pose"][:, 1:])
    assert all(torch.equal(one[name], other[name]) for name in one if name != "body/pose")


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        ({"ob": (0,)}, "env.keep.ob: the environment has no such observation group"),
        ({"obs": (0, 4)}, r"env.keep.obs: the group has no such entry \(expected indices from 0 to 3, found 4\)"),
    ],
)
def test_what_is_not_there_cannot_be_kept(keep, message):
    """A group or an entry that does not exist is a problem of the spec."""
    with pytest.raises(SpecError, match=message):
        make("CartPole-v1", keep=keep)


def test_entries_of_a_choice_cannot_be_kept():
    """Discrete observations have no entries to select."""
    with pytest.raises(SpecError, match="selected from a Box with an axis only"):
        make("FrozenLake-v1", keep={"obs": (0,)})
