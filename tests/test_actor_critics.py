"""What on-policy algorithms have in common: which statistics move by what and when, and what their options reach."""

import pytest
import torch
from gymnasium import spaces

from slmk.builtin import RunningConfig
from slmk.builtin.running import Running
from slmk.testing.algorithm_runs import build_run, learn
from slmk.testing.on_policy import Once, assemble, random_rollout
from slmk.testing.subject import Subject
from slmk.toolbox.advantages import gae
from slmk_algo_a2c import A2CConfig
from slmk_algo_a2c.a2c import A2C
from slmk_algo_ppo import PPOConfig
from slmk_algo_ppo.ppo import PPO
from slmk_algo_sil import SILConfig
from slmk_algo_sil.sil import SIL

ONCE = {"horizon": 6, "epochs": 1, "minibatches": 1}
ACTOR_CRITICS = {
    "ppo": (PPO, PPOConfig, ONCE),
    "a2c": (A2C, A2CConfig, {"horizon": 6}),
    "sil": (SIL, SILConfig, ONCE | {"capacity": 90}),
}
PASSES = {"minibatches": 2, "epochs": 2}
RUNS = {"ppo": PASSES, "a2c": {}, "reinforce": {}, "sarsa": {}, "sil": PASSES | {"objective": "ppo"}}


def assembled(name, role, statistics, **options):
    """One update on each rollout, with a normalizer in one role."""
    algorithm, config, given = ACTOR_CRITICS[name]
    options, normalizers = {**given, **options}, {role: statistics}
    return assemble(algorithm, config(**options), spaces.Discrete(3), max_episode_steps=8, normalizers=normalizers)


def session(name, action="discrete", sections=None, **options):
    """A session on the probe."""
    subject = Subject.find("algo", name, options={"horizon": 16, **RUNS[name], **options})
    return build_run(subject, {"name": "toy-probe", "num_envs": 4, "action": action}, sections=sections)


@pytest.mark.parametrize("name", ACTOR_CRITICS)
def test_a_value_normalizer_moves_by_returns_and_the_critic_learns_in_its_units(name):
    """The returns of a rollout are counted in beside what was seen before; the loss is that of standardised ones."""
    statistics, before = Running(RunningConfig(), ()), torch.tensor([90.0, 110.0])
    statistics.update(before)
    algorithm = assembled(name, "value", statistics)
    rollout = random_rollout(algorithm)
    with torch.no_grad():
        value, following = algorithm.value(rollout.obs), algorithm.value(rollout.next_obs)
        output = algorithm.model("critic", rollout.obs).squeeze(-1).double()
    gamma, lam = algorithm.config.gamma, algorithm.config.lam
    _, returns = gae(rollout.reward, value, following, rollout.terminated, rollout.truncated, gamma, lam)
    loss = algorithm.learn(Once(rollout), 0.0)["loss/value"]
    seen = torch.cat([before, returns.flatten()]).double()
    assert statistics.mean.item() == pytest.approx(seen.mean().item(), rel=1e-6)
    target = (returns.double() - seen.mean()) / seen.std(correction=0)
    assert loss.item() == pytest.approx(0.5 * (output - target).square().mean().item(), rel=1e-4)


@pytest.mark.parametrize("name", ["ppo", "a2c"])
def test_rewards_are_scaled_by_returns_within_episodes(name):
    """Returns so far, discounted by γ alone, begin anew where an episode ended, whichever way it did."""
    statistics = Running(RunningConfig(), ())
    algorithm = assembled(name, "reward", statistics, gamma=0.9, lam=0.5)
    rollout = random_rollout(algorithm)
    assert rollout.terminated[:-1].any()
    assert rollout.truncated[:-1].any()
    algorithm.learn(Once(rollout), 0.0)
    so_far, running = [], torch.zeros(3)
    for reward, done in zip(rollout.reward, rollout.terminated | rollout.truncated, strict=True):
        so_far.append(reward + 0.9 * running)
        running = so_far[-1] * ~done
    assert statistics.variance.item() == pytest.approx(torch.stack(so_far).double().var(correction=0).item(), rel=1e-5)


@pytest.mark.parametrize("name", RUNS)
def test_observation_statistics_stay_until_the_update_is_done(name):
    """It sees observations as the acting policy did."""
    run = session(name, sections={"normalizer": {"obs": {"name": "running"}}})
    learn(run, 1)
    (statistics,), counts, update = run.algorithm.model.normalizers.values(), [], run.algorithm.learner.step

    def step(*batch, **scalars):
        counts.append(statistics.count.item())
        return update(*batch, **scalars)

    run.algorithm.learner.step = step
    learn(run, 1)
    assert set(counts) == {16 * 4}
    assert statistics.count.item() == 2 * 16 * 4


@pytest.mark.parametrize("name", ["ppo", "a2c", "reinforce", "sil"])
def test_exploration_begins_with_the_deviation_that_is_asked_for(name):
    """With e^−15 what is drawn is the policy's action, and with 1 it is not."""
    for log_std, close in ((-15.0, True), (0.0, False)):
        run = session(name, "box matrix", log_std_init=log_std)
        with torch.no_grad():
            drawn, mode = run.algorithm.act(run.obs, 0.0).action, run.algorithm.policy(run.obs)
        assert torch.allclose(drawn, mode, atol=1e-4) == close
