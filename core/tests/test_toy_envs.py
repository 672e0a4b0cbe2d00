"""The toy environments keep the contract and have the answers that their docstring states."""

import dataclasses

import pytest
import torch

from slmk.batch import Step
from slmk.component import Component
from slmk.registry import Registry
from slmk.testing import Subject, check_subject, checks_of, toy_envs
from slmk.testing.env_chance import check_env_rows_and_seeds_differ
from slmk.testing.env_checks import (
    check_env_final_obs,
    check_env_keeps_tensors,
    check_env_no_phantom_step,
    check_env_state_round_trip,
)
from slmk.testing.env_steps import random_actions
from slmk.testing.toy_envs import TASKS, ToyConfig, ToyEnv, make_toy

ANSWERS = {
    "toy-bandit": lambda obs: obs["obs"].argmax(-1),
    "toy-continuous": lambda obs: obs["obs"],
    "toy-multidiscrete": lambda obs: torch.stack([obs["obs"][:, :3].argmax(-1), obs["obs"][:, 3:].argmax(-1)], -1),
    "toy-multibinary": lambda obs: obs["obs"].long(),
    "toy-groups": lambda obs: (obs["left"][:, 1] != obs["right"][:, 1]).long(),
}
BEST = {"toy-continuous": 0.0}
UNMASKED = [name for name, task in TASKS.items() if "mask" not in task.observation_spaces]
"""Those that take the random actions of the environment checks, which know no masks."""


@pytest.mark.parametrize("name", UNMASKED)
def test_every_toy_keeps_the_contract(name):
    """Each toy passes each check of the environment contract but that of figures, of which it has none."""
    report = check_subject(Subject.find("env", name), checks_of("env", common=False))
    assert report.ok, str(report)
    assert report.of("skipped") == ["metrics"]


@pytest.mark.parametrize("name", ANSWERS)
def test_the_known_policy_has_the_known_return(name):
    """The policy that reads the answer off the observation gets the best return in every episode; guessing does not."""
    env = make_toy(name, num_envs=32)
    obs = env.reset()
    for _ in range(5):
        step = env.step(ANSWERS[name](obs))
        assert step.terminated.all()
        assert torch.equal(step.reward, torch.full((32,), BEST.get(name, 1.0)))
        obs = step.obs
    guess = env.step(next(random_actions(env.info)))
    assert guess.reward.mean() < BEST.get(name, 1.0) - 0.1


def test_the_truncating_chain_is_cut_every_five_steps_and_never_terminates():
    """Rewards are all 1, so that the value of going on for ever at gamma .9 is 10, and only the cut hides that."""
    env = make_toy("toy-truncating", num_envs=3)
    env.reset()
    steps = [env.step(torch.zeros(3, dtype=torch.long)) for _ in range(20)]
    assert [bool(step.truncated.all()) for step in steps] == [False, False, False, False, True] * 4
    assert not any(step.terminated.any() for step in steps)
    assert all(torch.equal(step.reward, torch.ones(3)) for step in steps)


def test_the_cue_is_shown_at_the_first_step_only_and_asked_for_at_the_others():
    """Whoever repeats the cue gets 0, ½ and ½; whoever always says 0 gets that where the cue is 0 and else nothing."""
    env = make_toy("toy-memory", num_envs=32, seed=3)
    cue = env.reset()["obs"]
    assert 0 < cue[:, 1].sum() < 32
    steps = [env.step(cue.argmax(-1)) for _ in range(3)]
    assert [step.reward.unique().tolist() for step in steps] == [[0.0], [0.5], [0.5]]
    assert [bool(step.terminated.all()) for step in steps] == [False, False, True]
    assert all(set(step.obs) == set(step.final_obs) == {"obs"} for step in steps)
    assert not any(step.final_obs["obs"].any() for step in steps)
    cue = steps[2].obs["obs"]
    zeros = [env.step(torch.zeros(32, dtype=torch.long)).reward for _ in range(3)]
    assert torch.equal(sum(zeros), cue[:, 0])


def test_the_masked_bandit_pays_for_the_next_action_and_raises_at_forbidden_ones():
    """The shown action and the opposite one are forbidden, the next one pays 1, the one before it nothing."""
    env = make_toy("toy-masked", num_envs=16)
    for offset, reward in ((1, 1.0), (3, 0.0)):
        obs = env.reset()
        shown = obs["obs"].argmax(-1)
        assert obs["mask"].sum(-1).tolist() == [2] * 16
        step = env.step((shown + offset) % 4)
        assert step.reward.unique().tolist() == [reward]
        assert torch.equal(step.final_obs["mask"], obs["mask"])
    for offset in (0, 2):
        shown = env.reset()["obs"].argmax(-1)
        with pytest.raises(AssertionError, match="forbids was taken"):
            env.step((shown + offset) % 4)


def test_the_hook_offers_every_toy_with_a_target_that_exists():
    """A registry can make every toy from its component."""
    for component in toy_envs.slmk_env_backends():
        module, attribute = component.target.split(":")
        assert module == toy_envs.__name__
        env = getattr(toy_envs, attribute)(component.config(num_envs=2), device=torch.device("cpu"), seed=0)
        assert set(env.reset()) == set(TASKS[component.name].observation_spaces)


def subject(target):
    """Environments that ``target(config, device=…, seed=…)`` makes."""
    component = Component("broken", ToyConfig, f"{__name__}:{target.__name__}", "a toy that is not right")
    return Subject(kind="env", component=component, registry=Registry.from_modules([toy_envs]))


class NextStepReset:
    """Breaks the contract the way many simulators do: an ended episode restarts on the following step."""

    def __init__(self, config, *, device, seed):
        self.env = make_toy("toy-truncating", config.num_envs, seed)
        self.info, self.waiting = self.env.info, None

    def reset(self, seed=None):
        """Start over."""
        return self.env.reset(seed)

    def step(self, action):
        """Act, wrongly."""
        if self.waiting is not None:
            first, self.waiting = self.waiting, None
            nothing = torch.zeros(len(action))
            return Step(first, first, nothing, nothing.bool(), nothing.bool())
        step = self.env.step(action)
        if step.truncated.any():
            self.waiting, step.obs = step.obs, step.final_obs
        return step

    def close(self):
        """Nothing."""


def test_checks_catch_an_environment_that_restarts_on_the_next_step():
    """The phantom step makes episodes one step longer than the limit, and obs at an end is the final one."""
    with pytest.raises(AssertionError, match="spent on restarting"):
        check_env_no_phantom_step(subject(NextStepReset))
    with pytest.raises(AssertionError, match="belongs to the old one"):
        check_env_final_obs(subject(NextStepReset))


class Reuser:
    """Breaks the contract the way numpy simulators do: the observation buffer is used again."""

    def __init__(self, config, *, device, seed):
        self.env = make_toy("toy-truncating", config.num_envs, seed)
        self.info, self.buffer = self.env.info, None

    def reset(self, seed=None):
        """Start over."""
        self.buffer = self.env.reset(seed)
        return self.buffer

    def step(self, action):
        """Act, wrongly."""
        step = self.env.step(action)
        self.buffer["obs"].copy_(step.obs["obs"])
        step.obs = step.final_obs = self.buffer
        return step

    def close(self):
        """Nothing."""


def test_checks_catch_an_environment_that_uses_its_buffer_again():
    """Observations that a later step overwrites are found."""
    with pytest.raises(AssertionError, match="overwritten by a later step"):
        check_env_keeps_tensors(subject(Reuser))


class Continuous(ToyEnv):
    """The toy from which others are derived."""

    def __init__(self, config, *, device, seed):
        super().__init__(TASKS["toy-continuous"], config, device=device, seed=seed)


class Scribbler(Continuous):
    """Breaks the contract by writing into its action."""

    def step(self, action):
        """Act, and leave zeros."""
        step = super().step(action)
        action.zero_()
        return step


def test_checks_catch_an_environment_that_writes_into_its_action():
    """The memory would store what is left of it."""
    with pytest.raises(AssertionError, match="wrote into its action"):
        check_env_keeps_tensors(subject(Scribbler))


class Copies:
    """Breaks the contract: all rows are one and the same environment, which acts by the first action."""

    def __init__(self, env, num_envs):
        self.env, self.num_envs = env, num_envs
        self.info = dataclasses.replace(env.info, num_envs=num_envs)

    def reset(self, seed=None):
        """The first observation, in each row."""
        return self.all(self.env.reset(seed))

    def step(self, action):
        """One step, in each row."""
        step = self.env.step(action[:1])
        ends = (x.expand(self.num_envs).clone() for x in (step.reward, step.terminated, step.truncated))
        return Step(self.all(step.obs), self.all(step.final_obs), *ends)

    def all(self, obs):
        """Every row is the first."""
        return {name: x.expand(self.num_envs, *x.shape[1:]).clone() for name, x in obs.items()}

    def close(self):
        """Nothing."""


class Walk(Continuous):
    """Adds up its actions from 0 on: nothing is random, and no seed has a meaning."""

    def reset(self, seed=None):
        """Start at 0."""
        self.place = torch.zeros(self.info.num_envs, 1)
        return {"obs": self.place.clone()}

    def step(self, action):
        """Move."""
        self.place += action
        obs, rest = {"obs": self.place.clone()}, torch.zeros(len(action))
        return Step(obs, obs, rest, rest.bool(), rest.bool())


def one_chance_for_all_rows(config, *, device, seed):
    """One generator for all rows."""
    return Copies(make_toy("toy-continuous", 1, seed), config.num_envs)


def one_chance_for_all_seeds(config, *, device, seed):
    """A generator that is not seeded."""
    return make_toy("toy-continuous", config.num_envs, 0)


def one_chance_for_both(config, *, device, seed):
    """One that is neither."""
    return Copies(make_toy("toy-continuous", 1, 0), config.num_envs)


def one_action_for_all_rows(config, *, device, seed):
    """No chance at all, but only the first action counts."""
    return Copies(Walk(ToyConfig(num_envs=1), device=device, seed=seed), config.num_envs)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (one_chance_for_all_rows, "one and the same"),
        (one_chance_for_all_seeds, "the seed is ignored"),
        (one_chance_for_both, "one and the same"),
        (one_action_for_all_rows, "act by its own actions"),
    ],
)
def test_checks_catch_rows_and_seeds_that_are_all_the_same(target, message):
    """A simulator that has one generator for all rows, or none that is seeded, or looks at one action only."""
    with pytest.raises(AssertionError, match=message):
        check_env_rows_and_seeds_differ(subject(target))


def test_a_task_without_chance_may_be_the_same_for_all_seeds():
    """Where rows act alike they see the same, which is as it has to be."""
    check_env_rows_and_seeds_differ(subject(Walk))


class Forgetful(ToyEnv):
    """Breaks the contract by leaving the elapsed steps out of its state."""

    def __init__(self, config, *, device, seed):
        super().__init__(TASKS["toy-truncating"], config, device=device, seed=seed)

    def state_dict(self):
        """All but the steps."""
        return {**super().state_dict(), "steps": 0}


def test_checks_catch_state_that_is_not_complete():
    """An environment that claims exact state, but forgets how far its episode is, is found."""

    with pytest.raises(AssertionError, match="after restoring the state differs"):
        check_env_state_round_trip(subject(Forgetful))


class Modest(Continuous):
    """Claims neither true last observations nor exact state."""

    def __init__(self, config, *, device, seed):
        super().__init__(config, device=device, seed=seed)
        self.info = dataclasses.replace(self.info, final_obs=False, exact_state=False)


class CannotTakeItBack(Modest):
    """Besides, what it saves is of no use to itself."""

    def load_state_dict(self, state):
        """Nobody has thought of this."""
        raise KeyError("steps")


def test_what_an_environment_does_not_claim_is_skipped():
    """No promise is reported as kept that was not looked at; but the state of every environment is taken back."""
    report = check_subject(subject(Modest), checks_of("env", common=False))
    assert report.ok, str(report)
    skipped = {outcome.check: outcome.reason for outcome in report.outcomes if outcome.status == "skipped"}
    assert skipped == {
        "final_obs": "info.final_obs is False",
        "metrics": "it has no figures of its own",
        "state_round_trip": "info.exact_state is False",
    }
    report = check_subject(subject(CannotTakeItBack), ["state_round_trip"])
    assert report.of("failed") == ["state_round_trip"]
