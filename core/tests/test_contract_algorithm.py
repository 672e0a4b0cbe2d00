"""The algorithm contract passes a right algorithm, and each way of being wrong fails the check that is about it."""

from typing import ClassVar

import pytest
import torch
from gymnasium import spaces

from slmk import Act, Adam, AlgorithmConfig, Component, Learner, Problem, Role, SpecError, hookimpl
from slmk.config import Fraction, Positive, PositiveInt, Schedule
from slmk.registry import Registry
from slmk.state import get_state, set_state
from slmk.testing import AlgorithmContract, Subject, check_subject, checks_of
from slmk.toolbox.advantages import gae
from slmk.toolbox.heads import action_head, head_outputs
from slmk.toolbox.schedules import at

OPTIONS = {"horizon": 8}


class ActorCriticConfig(AlgorithmConfig):
    """Options."""

    memory: ClassVar = "take"
    roles: ClassVar = ("actor", "critic")
    normalizers: ClassVar = ("obs",)

    horizon: PositiveInt = 16
    """Vector steps per rollout."""
    gamma: Fraction = 0.9
    """Discount per step."""
    lr: Schedule = 1e-2
    """Learning rate."""
    max_grad_norm: Positive = 100.0
    """Gradients are clipped to this norm."""


class ActorCritic:
    """One gradient step per rollout, on-policy."""

    @staticmethod
    def roles(config, env):
        return {"actor": Role(head_outputs(env.action_space), gain=0.01), "critic": Role(1)}

    def __init__(self, config, env, parts):
        self.config, self.horizon, self.generator, self.model = config, config.horizon, parts.generator, parts.model
        self.head = action_head(env.action_space)
        self.learner = Learner(self.modules(), self.loss, optimiser=self.optimiser())

    def optimiser(self):
        return Adam(max_grad_norm=self.config.max_grad_norm)

    def modules(self):
        return {"model": self.model, "head": self.head}

    @torch.no_grad()
    def act(self, obs, progress):
        raw = self.head(self.model("actor", obs), obs).sample(self.generator)
        return Act(self.head.to_env(raw), {"raw": raw})

    @torch.no_grad()
    def policy(self, obs):
        return self.head.to_env(self.head(self.model("actor", obs), obs).mode())

    def learn(self, memory, progress):
        rollout = memory.take()
        with torch.no_grad():
            advantage, returns = self.advantages(rollout, self.value(rollout.obs), self.value(rollout.next_obs))
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-3)
        self.learner.step(rollout.obs, rollout.extras["raw"], advantage, returns, lr=at(self.config.lr, progress))
        self.observe(rollout)
        return self.learner.metrics()

    def observe(self, rollout):
        self.model.observe(rollout.obs)

    def advantages(self, rollout, value, next_value):
        return gae(rollout.reward, value, next_value, rollout.terminated, rollout.truncated, self.config.gamma, 0.9)

    def loss(self, obs, raw, advantage, returns):
        policy = self.head(self.model("actor", obs), obs)
        value_loss = (self.value(obs) - returns).square().mean()
        loss = -(policy.log_prob(raw) * advantage).mean() - 0.01 * policy.entropy().mean() + value_loss
        return loss, {"loss/value": value_loss}

    def value(self, obs):
        return self.model("critic", obs).squeeze(-1)


class ForgetsItsStream(ActorCritic):
    """Saves parameters and optimiser, and not the random stream."""

    def state_dict(self):
        return {"learner": self.learner.state_dict(), "model": get_state(self.model)}

    def load_state_dict(self, state):
        self.learner.load_state_dict(state["learner"])
        set_state(self.model, state["model"])


class TakesCutsForEnds(ActorCritic):
    """Has no value after a time limit."""

    def advantages(self, rollout, value, next_value):
        done = rollout.terminated | rollout.truncated
        return gae(rollout.reward, value, next_value, done, done, self.config.gamma, 0.9)


class LeaksAcrossCuts(ActorCritic):
    """Goes on from the next row, which is that of the next episode, as SLM-Lab 5 did."""

    def advantages(self, rollout, value, next_value):
        following = torch.cat([value[1:], next_value[-1:]])
        never = torch.zeros_like(rollout.truncated)
        return gae(rollout.reward, value, following, rollout.terminated, never, self.config.gamma, 0.9)


class NeverObserves(ActorCritic):
    """Has a normalizer of observations, and forgets to tell it of any."""

    def observe(self, rollout):
        pass


class ObservesWhatFollows(ActorCritic):
    """Counts what came of the actions, rather than what they were chosen by."""

    def observe(self, rollout):
        self.model.observe(rollout.next_obs)


class ObservesTwice(ActorCritic):
    """Counts the observations when it acts, and once more when it learns."""

    def act(self, obs, progress):
        self.model.observe(obs)
        return super().act(obs, progress)


class IgnoresProgress(ActorCritic):
    """Learns as at the beginning of the run."""

    def learn(self, memory, progress):
        return super().learn(memory, 0.0)


class NeverClips(ActorCritic):
    """Keeps an option from the optimiser."""

    def optimiser(self):
        return Adam()


class ExploresAtEvaluation(ActorCritic):
    """Has a policy that draws from the stream of `act`."""

    def policy(self, obs):
        return self.act(obs, 1.0).action


class MovesStatisticsAtEvaluation(ActorCritic):
    """Counts observations of evaluations in."""

    def __init__(self, config, env, parts):
        super().__init__(config, env, parts)
        self.seen = 0

    def policy(self, obs):
        self.seen += 1
        return super().policy(obs)


class ReadsMetricsBack(ActorCritic):
    """Returns floats."""

    def learn(self, memory, progress):
        return {name: value.item() for name, value in super().learn(memory, progress).items()}


class NamesMetricsWithoutGroup(ActorCritic):
    """Calls a metric by one word."""

    def learn(self, memory, progress):
        return {name.replace("/", "_"): value for name, value in super().learn(memory, progress).items()}


class WaitsForTheDevice(ActorCritic):
    """Decides by a tensor's value on the host."""

    def advantages(self, rollout, value, next_value):
        if rollout.terminated.any():
            value = value.clone()
        return super().advantages(rollout, value, next_value)


class SelectsByMask(ActorCritic):
    """Picks rows by a boolean mask, whose number only the device knows."""

    def act(self, obs, progress):
        act = super().act(obs, progress)
        act.extras["raw"][act.action.reshape(len(act.action), -1)[:, 0] < 0]
        return act


class IgnoresTheMask(ActorCritic):
    """Acts as if every action were allowed."""

    @torch.no_grad()
    def act(self, obs, progress):
        return super().act({name: x for name, x in obs.items() if name != "mask"}, progress)


class ZeroesWhatIsRemembered(ActorCritic):
    """Trains as if every step began an episode."""

    def loss(self, obs, raw, advantage, returns):
        obs = {name: 0 * x if name.startswith("carry/") else x for name, x in obs.items()}
        return super().loss(obs, raw, advantage, returns)


class HasDeadParameters(ActorCritic):
    """Gives the optimiser a layer that the loss does not use."""

    def modules(self):
        self.dead = torch.nn.PReLU()
        return {**super().modules(), "dead": self.dead}


class LearnsInSecret(ActorCritic):
    """Does not show what makes its gradient steps."""

    def __init__(self, config, env, parts):
        super().__init__(config, env, parts)
        self.trainer, self.learner = self.learner, None

    def learn(self, memory, progress):
        self.learner = self.trainer
        metrics = super().learn(memory, progress)
        self.learner = None
        return metrics


class LearnsLessOften(ActorCritic):
    """Has another horizon than its config."""

    def __init__(self, config, env, parts):
        super().__init__(config, env, parts)
        self.horizon *= 2


class UsesGlobalRandomness(ActorCritic):
    """Explores with torch's global generator."""

    def __init__(self, config, env, parts):
        super().__init__(config, env, parts)
        self.generator = torch.default_generator


class CountsFromZero(ActorCritic):
    """Forgets where discrete actions start."""

    def act(self, obs, progress):
        act = super().act(obs, progress)
        start = getattr(self.head, "start", 0)
        return act if isinstance(start, torch.Tensor) else Act(act.action - start, act.extras)


class CrashesOnBits(ActorCritic):
    """Raises something else than a SpecError for spaces that it does not know."""

    @staticmethod
    def roles(config, env):
        if isinstance(env.action_space, spaces.MultiBinary):
            raise TypeError("no bits today")
        return ActorCritic.roles(config, env)


BROKEN = {
    ForgetsItsStream: {"exact_resume", "recurrent_networks"},
    TakesCutsForEnds: {"learns_value_beyond_time_limit", "learns_value_of_own_episode"},
    LeaksAcrossCuts: {"learns_value_of_own_episode"},
    NeverObserves: {"normalizers", "observation_statistics"},
    ObservesWhatFollows: {"observation_statistics"},
    ObservesTwice: {"observation_statistics"},
    IgnoresProgress: {"schedules"},
    NeverClips: {"optimiser_options"},
    ExploresAtEvaluation: {"policy"},
    MovesStatisticsAtEvaluation: {"policy"},
    ReadsMetricsBack: {"metrics", "no_host_sync"},
    NamesMetricsWithoutGroup: {"metrics"},
    WaitsForTheDevice: {"no_host_sync"},
    SelectsByMask: {"no_host_sync"},
    IgnoresTheMask: {"mask", "recurrent_networks"},
    ZeroesWhatIsRemembered: {"recurrent_networks"},
    HasDeadParameters: {"every_parameter_learns", "recurrent_networks"},
    LearnsInSecret: {"every_parameter_learns", "recurrent_networks"},
    LearnsLessOften: {"action_spaces", "observation_groups", "recurrent_networks"},
    UsesGlobalRandomness: {"random_streams", "exact_resume", "recurrent_networks", "policy", "schedules"},
    CountsFromZero: {"action_spaces", "mask"},
    CrashesOnBits: {"action_spaces", "mask", "every_parameter_learns", "recurrent_networks"},
}


class QConfig(AlgorithmConfig):
    """Options."""

    memory: ClassVar = "sample"
    roles: ClassVar = ("q",)

    utd_ratio: Fraction = 0.5
    """Gradient steps per transition."""


class Q:
    """One-step Q-learning from a replay, for discrete actions."""

    @staticmethod
    def roles(config, env):
        if not isinstance(env.action_space, spaces.Discrete) or env.action_space.start:
            raise SpecError([Problem("only discrete actions from 0", "env")])
        return {"q": Role(int(env.action_space.n))}

    def __init__(self, config, env, parts):
        self.config, self.num_envs, self.generator, self.model = config, env.num_envs, parts.generator, parts.model
        self.horizon, self.debt = 1, 0.0
        self.learner = Learner({"model": self.model}, self.loss)

    @torch.no_grad()
    def act(self, obs, progress):
        noise = torch.rand(self.num_envs, 4, generator=self.generator)
        return Act((self.model("q", obs) + noise).argmax(-1))

    @torch.no_grad()
    def policy(self, obs):
        return self.model("q", obs).argmax(-1)

    def learn(self, memory, progress):
        self.debt += self.due()
        while self.debt >= 1:
            self.debt -= 1
            batch = memory.sample(8)
            self.learner.step(batch.obs, batch.action, batch.reward, lr=1e-3)
        return self.learner.metrics()

    def due(self):
        return self.config.utd_ratio * self.num_envs

    def loss(self, obs, action, reward):
        value = self.model("q", obs).gather(-1, action.unsqueeze(-1)).squeeze(-1)
        return (value - reward).square().mean(), {"loss/q": value.mean()}


class CountsVectorSteps(Q):
    """Takes the ratio for one of gradient steps per vector step."""

    def due(self):
        return self.config.utd_ratio


ALL = (ActorCritic, *BROKEN, Q, CountsVectorSteps)


class Plugin:
    """Offers every algorithm of this file."""

    @hookimpl
    def slmk_algorithms(self):
        configs = {cls: QConfig if issubclass(cls, Q) else ActorCriticConfig for cls in ALL}
        return [Component(cls.__name__, config, f"{__name__}:{cls.__name__}", "s") for cls, config in configs.items()]


REGISTRY = Registry.from_modules([Plugin()])


class TestActorCritic(AlgorithmContract):
    """A right algorithm keeps every promise."""

    component = "ActorCritic"
    registry = REGISTRY
    options = OPTIONS
    skip: ClassVar = {
        "component": "its name is that of a class",
        "public_names_only": "this file tests the kernel",
        "import_is_light": "this file is no plugin module",
        "no_side_effects": "this file is no plugin module",
    }


VALUES = ("learns_value_beyond_time_limit", "learns_value_of_own_episode")
PROMISES = [word for word in checks_of("algo", common=False) if not word.startswith("learns_")]


@pytest.mark.parametrize("broken", BROKEN, ids=lambda cls: cls.__name__)
def test_a_broken_algorithm_fails_the_check_that_is_about_it(broken):
    """Each defect fails the checks that are about it, and no other."""
    torch.manual_seed(0)
    subject = Subject.find("algo", broken.__name__, REGISTRY, options=OPTIONS, learning_steps=4_000)
    report = check_subject(subject, VALUES if set(VALUES) & BROKEN[broken] else PROMISES)
    assert set(report.of("failed")) == BROKEN[broken], str(report)


def test_gradient_steps_are_counted_per_transition():
    """A ratio per transition passes, one per vector step fails, and action spaces that are refused are named."""
    promises = ("action_spaces", "gradient_steps", "exact_resume", "every_parameter_learns")
    right = check_subject(Subject.find("algo", "Q", REGISTRY), promises)
    assert right.ok, str(right)
    assert right.outcomes[0].reason.startswith("refuses discrete from 1, multi-discrete, multi-binary")
    wrong = check_subject(Subject.find("algo", "CountsVectorSteps", REGISTRY), promises)
    assert wrong.of("failed") == ["gradient_steps"]
    assert "gradient steps in 1600 transitions of 16 environments, expected 0.5 for each" in str(wrong)


def test_a_host_sync_is_told_with_its_line():
    """The failure names the operation and the line of the algorithm that waits."""
    subject = Subject.find("algo", "WaitsForTheDevice", REGISTRY, options=OPTIONS)
    reason = check_subject(subject, ["no_host_sync"]).outcomes[0].reason
    assert "learn waits for the device: " in reason
    assert "test_contract_algorithm.py" in reason
    assert "if rollout.terminated.any():" in reason


def test_options_that_do_not_fit_are_a_failure_and_no_refusal():
    """A misspelt option is told as such, and not taken for a refusal of every space."""
    subject = Subject.find("algo", "ActorCritic", REGISTRY, options={"horizons": 3})
    reason = check_subject(subject, ["action_spaces"]).outcomes[0].reason
    assert "algorithm.horizons: unknown key" in reason
    assert "give it others" in reason
