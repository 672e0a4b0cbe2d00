"""The adapter on a simulator whose every number can be told in advance, and overrides of its config."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gymnasium import spaces

from slmk.errors import SpecError
from slmk_env_managed import Adapter, override
from slmk_env_managed.groups import flat, mixed
from slmk_env_managed.means import Means

N = 3
CPU = torch.device("cpu")


class Counting:
    """Counts up by the action; buffers are its own and overwritten. Environment n terminates above 2 + n."""

    def __init__(self, finite=False, bound=np.inf):
        self.cfg = SimpleNamespace(is_finite_horizon=finite)
        self.single_action_space = spaces.Box(-bound, bound, (1,))
        self.count, self.steps = torch.zeros(N, 1), 0
        self.reward, self.terminated = torch.zeros(N, dtype=torch.float64), torch.zeros(N, dtype=torch.bool)
        self.time_outs = torch.zeros(N, dtype=torch.bool)
        self.extras = {}

    def obs(self):
        terms = {"pixels": torch.zeros(N, 2, 2, 3, dtype=torch.uint8), "contact": self.count > 0}
        return {"policy": self.count, "critic": terms}

    def reset(self, *, seed=None):
        self.count[:] = 0 if seed is None else seed
        self.steps = 0
        self.extras["log"] = {"Episode_Reward/count": torch.tensor(100.0)}
        return self.obs(), self.extras

    def step(self, action):
        self.count += action
        self.steps += 1
        self.reward[:] = action[:, 0]
        self.terminated[:] = self.count[:, 0] > 2 + torch.arange(N)
        self.time_outs[:] = self.steps == 3
        return self.obs(), self.reward, self.terminated, self.time_outs, self.extras


def restarted(simulator):
    """What a plugin does where episodes end: here those environments go back to zero, and it is logged."""

    def final(obs, ended, extras):
        before = obs["policy"].clone()
        simulator.count[ended] = 0
        extras["log"] = {"Episode_Reward/count": before[ended].mean(), "Episode_Termination/high": 1}
        return mixed(ended, flat(simulator.obs()), obs), obs

    return final


def adapter(finite=False, bound=np.inf, **options):
    simulator = Counting(finite, bound)
    return Adapter(simulator, restarted(simulator), device=CPU, **options)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_groups_are_flat_typed_and_copied(dtype):
    """Terms of a group become groups; buffers that the simulator overwrites stay as they were returned."""
    it = adapter()
    assert it.observation_spaces == {
        "policy": spaces.Box(-np.inf, np.inf, (1,)),
        "critic/pixels": spaces.Box(0, 255, (2, 2, 3), np.uint8),
        "critic/contact": spaces.MultiBinary((1,)),
    }
    obs = it.reset(seed=1)
    it._simulator.reward = it._simulator.reward.to(dtype)
    step = it.step(torch.ones(N, 1))
    it.step(torch.zeros(N, 1))
    assert obs["policy"].flatten().tolist() == [1, 1, 1]
    assert step.obs["policy"].flatten().tolist() == [2, 2, 2]
    assert (step.reward.dtype, step.reward.tolist()) == (torch.float32, [1, 1, 1])
    assert obs["critic/contact"].dtype == torch.bool


def test_roles_get_the_groups_that_are_there():
    """A group of several terms gives all of them; a role none of whose groups exists is left out."""
    wanted = {"actor": ("policy",), "critic": ("policy", "critic"), "student": ("camera",)}
    assert adapter().role_groups(wanted) == {
        "actor": ("policy",),
        "critic": ("policy", "critic/pixels", "critic/contact"),
    }


def test_ends_are_exclusive_and_final_observations_true():
    """Environment 0 terminates at 3, in the step of the time limit, which cuts the others."""
    it = adapter()
    it.reset()
    for _ in range(2):
        step = it.step(torch.ones(N, 1))
        assert step.final_obs is step.obs
    step = it.step(torch.tensor([[1.0], [0.5], [0.5]]))
    assert step.terminated.tolist() == [True, False, False]
    assert step.truncated.tolist() == [False, True, True]
    assert step.final_obs["policy"].flatten().tolist() == [3, 2.5, 2.5]
    assert step.obs["policy"].flatten().tolist() == [0, 0, 0]


def test_a_finite_horizon_terminates():
    """There the time limit is an end of the task."""
    it = adapter(finite=True)
    it.reset()
    steps = [it.step(torch.zeros(N, 1)) for _ in range(3)]
    assert steps[-1].terminated.all()
    assert not steps[-1].truncated.any()


def test_actions_are_clipped():
    """By an option; without them the bounds are the simulator's own."""
    it = adapter(clip_actions=0.5)
    assert it.action_space == spaces.Box(-0.5, 0.5, (1,))
    it.reset()
    step = it.step(torch.tensor([[2.0], [-2.0], [0.1]]))
    torch.testing.assert_close(step.obs["policy"].flatten(), torch.tensor([0.5, -0.5, 0.1]))
    torch.testing.assert_close(step.reward, torch.tensor([0.5, -0.5, 0.1]))
    assert adapter(bound=2.0).action_space == spaces.Box(-2.0, 2.0, (1,))


def test_discrete_actions_are_a_problem():
    """Of the spec, which names the task."""
    simulator = Counting()
    simulator.single_action_space = spaces.Discrete(3)
    with pytest.raises(SpecError, match=r"env\.id: actions of this kind are not supported"):
        Adapter(simulator, restarted(simulator), device=CPU)


def test_logs_become_means_once_each():
    """Only new logs count: not that of the first reset, and not one that is left lying in the extras."""
    it = adapter()
    it.reset()
    for _ in range(5):
        it.step(torch.tensor([[1.5], [0.0], [0.0]]))
    metrics = it.metrics()
    # Environment 0 ends at 3 twice, the second time after its restart by the time limit in step 3 at 1.5, 0 and 0.
    assert metrics["env/Episode_Reward/count"].item() == pytest.approx((3 + 0.5 + 3) / 3)
    assert metrics["env/Episode_Termination/high"].item() == 1
    assert it.metrics() == {}


def test_a_log_that_is_filled_for_ever_counts_at_every_step():
    """Isaac Lab's hands make theirs once and set its values anew in each step: 1 to 4, then 5 and 6."""

    class Hand(Counting):
        def step(self, action):
            outcome = super().step(action)
            if "log" not in self.extras:
                self.extras["log"] = {}
            self.extras["log"]["consecutive_successes"] = torch.tensor(float(self.steps))
            return outcome

        def reset(self, *, seed=None):
            self.count[:] = self.steps = 0
            return self.obs(), self.extras

    it = Adapter(Hand(), lambda obs, ended, extras: (obs, obs), device=CPU)
    it.reset()
    for steps, mean in ((4, 2.5), (2, 5.5)):
        for _ in range(steps):
            it.step(torch.zeros(N, 1))
        assert it.metrics() == {"env/consecutive_successes": torch.tensor(mean)}


def test_means_go_on_after_a_resume():
    """The sums are state; figures without a number are left out."""
    means, other = Means(CPU), Means(CPU)
    means.add({"a": 1.0, "b": torch.tensor([4.0]), "name": "x"})
    other.load_state_dict(means.state_dict())
    other.add({"a": 2.0})
    assert {name: value.item() for name, value in other.take().items()} == {"env/a": 1.5, "env/b": 4.0}
    elsewhere = Means(torch.device("meta"))
    elsewhere.load_state_dict(means.state_dict())
    assert elsewhere.state_dict()["sums"]["b"].device.type == "meta"


@dataclass
class Term:
    weight: float = 1.0
    scale: tuple[float, ...] = (1.0, 2.0)
    func: object = len


@dataclass
class Scene:
    num_envs: int = 1
    nconmax: int | None = None


@dataclass
class Config:
    episode_length_s: float = 20
    decimation: int = 4
    noise: bool = True
    scene: Scene = field(default_factory=Scene)
    rewards: dict[str, Term] = field(default_factory=lambda: {"alive": Term()})
    limits: dict[str, float] = field(default_factory=lambda: {"low": 0})


RESERVED = {"scene.num_envs": "set env.num_envs instead"}


def test_overrides_reach_dataclasses_and_dicts():
    """As tables or by dotted keys, in the types that are there."""
    cfg = Config()
    overrides = {"rewards": {"alive": {"weight": 2}}, "rewards.alive.scale": [3.0], "scene.nconmax": 5, "noise": False}
    override(cfg, overrides, reserved=RESERVED)
    term = cfg.rewards["alive"]
    assert (term.weight, term.scale, cfg.scene.nconmax, cfg.noise) == (2.0, (3.0,), 5, False)
    assert isinstance(term.weight, float)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({"decimation": 2.0}, 2),
        ({"decimation": 3}, 3),
        ({"episode_length_s": 2.5}, 2.5),
        ({"episode_length_s": 2}, 2.0),
        ({"limits.low": 1.0}, 1),
        ({"limits.low": 0.5}, 0.5),
    ],
)
def test_numbers_get_the_type_that_their_field_declares(overrides, expected):
    """Whatever their defaults are written as; an entry of a dict, which declares nothing, may be any number."""
    cfg = Config()
    override(cfg, overrides, reserved={})
    (key,) = overrides
    value = cfg.limits["low"] if key == "limits.low" else getattr(cfg, key)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("overrides", "path", "words"),
    [
        ({"decimation": 2.5}, "env.overrides.decimation", "a whole number"),
        ({"episode_lenght_s": 1.0}, "env.overrides.episode_lenght_s", "did you mean 'episode_length_s'"),
        ({"rewards.alife.weight": 1.0}, "env.overrides.rewards.alife.weight", "rewards has no 'alife'"),
        ({"noise": 1}, "env.overrides.noise", "true or false"),
        ({"rewards.alive": 1.0}, "env.overrides.rewards.alive", "one of its values: weight, scale, func"),
        ({"rewards.alive.func": "len"}, "env.overrides.rewards.alive.func", "another type"),
        ({"episode_length_s.x": 1}, "env.overrides.episode_length_s.x", "has no 'x'"),
        ({"scene": {"num_envs": 3}}, "env.overrides.scene.num_envs", "set env.num_envs instead"),
    ],
)
def test_mistakes_in_overrides_are_problems_and_change_nothing(overrides, path, words):
    """Each with its path and what would be right."""
    cfg = Config()
    with pytest.raises(SpecError) as caught:
        override(cfg, {"noise": False, **overrides}, reserved=RESERVED)
    (problem,) = caught.value.problems
    assert problem.path == path
    assert words in str(problem)
    assert cfg == Config()


def test_what_another_config_lacks_is_left_out():
    """A task's configuration for playing need not have all terms of the one for training."""
    training, playing = Config(), Config(rewards={})
    override(playing, {"rewards.alive.weight": 2.0, "noise": False}, reserved=RESERVED, known=training)
    assert playing == Config(rewards={}, noise=False)
    assert training == Config()
