"""SIL's losses and gradients against independent references in float64, and how its two kinds of updates share."""

import pytest
import torch
from gymnasium import spaces

from slmk import EnvConfig, Obs
from slmk.builtin import RunningConfig
from slmk.builtin.running import Running
from slmk.testing.compare import first_difference
from slmk.testing.on_policy import (
    ENVS,
    Once,
    Reference,
    assemble,
    check_one_graph,
    collect,
    move_away,
    parameters,
    random_rollout,
    recurrent_run,
)
from slmk.windows import Windows
from slmk_algo_sil import SILConfig
from slmk_algo_sil.sil import SIL

T, N, B = 6, ENVS, 32
DISCRETE, BOX = spaces.Discrete(3), spaces.Box(-1.0, 1.0, (2,))
SCALARS = {"clip": torch.tensor(0.2), "entropy": torch.tensor(0.03)}


def sil(action_space=DISCRETE, normalizers=None, compile="off", **options) -> SIL:
    config = SILConfig(**{"horizon": T, "imitation_batch": B, "capacity": 90, **options})
    return assemble(SIL, config, action_space, max_episode_steps=8, normalizers=normalizers, compile=compile)


@torch.no_grad()
def drawn(algorithm: SIL, obs: Obs) -> torch.Tensor:
    """Raw actions of the policy, as the loop draws them."""
    return algorithm.act(obs, 0.0).extras["raw"]


def acting(algorithm: SIL) -> torch.Tensor:
    """The parameters of the networks themselves, by which the policy acts, side by side."""
    return torch.cat([parameter.detach().flatten() for parameter in parameters(algorithm).values()])


@pytest.mark.parametrize("space", [DISCRETE, BOX], ids=["discrete", "continuous"])
@pytest.mark.parametrize("objective", ["a2c", "ppo"])
def test_on_policy_loss_equals_a_float64_reference(space, objective):
    """Away from the acting parameters, loss and every gradient agree with the formula of the objective."""
    algorithm = sil(space, objective=objective)
    data = algorithm.prepare(random_rollout(algorithm))
    move_away(algorithm)
    index = torch.arange(0, T * N, 2)
    loss, _ = algorithm.loss(data, index, **SCALARS)
    reference = Reference(algorithm)
    obs, raw = data["obs"]["obs"][index], data["raw"][index]
    old, advantage, returns = (data[name][index].double() for name in ("log_prob", "advantage", "returns"))
    log_prob, entropy = reference.policy(obs, raw)
    ratio = torch.exp(log_prob - old)
    clipped = torch.stack([ratio * advantage, ratio.clamp(0.8, 1.2) * advantage]).min(0).values
    surrogate = clipped if objective == "ppo" else log_prob * advantage
    error = reference.value(obs) - returns
    expected = -surrogate.mean() + 0.5 * 0.5 * (error**2).mean() - 0.03 * entropy.mean()
    reference.check(algorithm, loss, expected)


@pytest.mark.parametrize("space", [DISCRETE, BOX], ids=["discrete", "continuous"])
def test_imitation_loss_equals_a_float64_reference(space):
    """−log π (R − V)₊ + β ½ (R − V)₊², weighted: loss, every gradient, and the gains told to the past."""
    algorithm = sil(space, imitation_value_coefficient=0.1)
    generator = torch.Generator().manual_seed(3)
    obs = torch.randn(B, 4, generator=generator)
    raw = drawn(algorithm, {"obs": obs})
    returns, weight = torch.randn(B, generator=generator), torch.rand(B, generator=generator)
    move_away(algorithm)
    batch = {"obs": {"obs": obs}, "raw": raw, "returns": returns, "weight": weight}
    loss, told = algorithm.imitation_loss(batch, strength=torch.tensor(0.7))
    reference = Reference(algorithm)
    log_prob, _ = reference.policy(obs, raw)
    gain = (returns.double() - reference.value(obs)).clamp(min=0)
    assert 0 < (gain > 0).sum() < B
    policy_loss = -(weight.double() * log_prob * gain.detach()).mean()
    expected = 0.7 * (policy_loss + 0.1 * 0.5 * (weight.double() * gain**2).mean())
    reference.check(algorithm, loss, expected)
    torch.testing.assert_close(told["gain"].double(), gain.detach(), rtol=1e-4, atol=1e-6)
    assert told["imitation/gaining"].item() == pytest.approx((gain > 0).double().mean().item())


def test_what_paid_less_than_expected_is_not_imitated():
    """Where every return lies below the critic's value, loss and all gradients are 0."""
    algorithm = sil()
    obs = {"obs": torch.randn(B, 4)}
    raw = drawn(algorithm, obs)
    batch = {"obs": obs, "raw": raw, "returns": torch.full((B,), -100.0), "weight": torch.ones(B)}
    loss, _ = algorithm.imitation_loss(batch, strength=torch.tensor(1.0))
    gradients = torch.autograd.grad(loss, list(algorithm.model.parameters()))
    assert loss.item() == 0.0
    assert all((gradient == 0).all() for gradient in gradients)


def test_a_cut_episode_is_remembered_with_what_was_to_come():
    """The stored reward of a truncated step has γ V of its last observation added; of a terminated one it has not."""
    algorithm = sil()
    experience = random_rollout(algorithm)
    experience.terminated[0], experience.truncated[0] = True, True
    algorithm.prepare(experience)
    following = algorithm.value(experience.next_obs)
    cut = experience.truncated & ~experience.terminated
    assert cut.any()
    expected = torch.where(cut, experience.reward + 0.99 * following, experience.reward)
    torch.testing.assert_close(algorithm.past.steps["reward"][:T], expected)


def test_gains_are_in_units_of_reward_whatever_the_critic_puts_out():
    """With returns normalised by mean 100 and deviation 10, a return of 120 gains 20 − 10 · output; the loss has 2."""
    statistics = Running(RunningConfig(), ())
    statistics.update(torch.tensor([90.0, 110.0]))
    algorithm = sil(normalizers={"value": statistics})
    obs = {"obs": torch.ones(1, 4)}
    raw = drawn(algorithm, obs)
    batch = {"obs": obs, "raw": raw, "returns": torch.tensor([120.0]), "weight": torch.ones(1)}
    _, told = algorithm.imitation_loss(batch, strength=torch.tensor(1.0))
    output = algorithm.model("critic", obs).squeeze(-1)
    torch.testing.assert_close(told["gain"], 20 - 10 * output, rtol=1e-5, atol=1e-5)
    expected = 0.5 * (2 - output).square().squeeze()
    torch.testing.assert_close(told["imitation/value_loss"], expected, rtol=1e-5, atol=1e-6)


def test_the_past_is_as_large_as_the_options_say():
    """91 steps of three environments are 30 rows; returns are looked for in an episode (8) and a rollout (6)."""
    past = sil(capacity=91, priority_alpha=0.6, priority_beta=0.1, gamma=0.9).past
    assert (past.rows, past.reach) == (30, 14)
    assert (past.gamma, past.exponent, past.correction) == (0.9, 0.6, 0.1)


def test_the_past_is_told_what_steps_gain_by_now():
    """Once the critic expects nothing, a step of an episode of its own gains its reward, or the smallest there is."""
    algorithm = sil(imitations=1, imitation_batch=4096, priority_alpha=1.0)
    experience = random_rollout(algorithm)
    experience.terminated = torch.ones(T, N, dtype=torch.bool)
    algorithm.prepare(experience)
    with torch.no_grad():
        for parameter in algorithm.model.networks["critic"].parameters():
            parameter.zero_()
    gains = experience.reward.clamp(min=1e-6)
    assert not torch.allclose(algorithm.past.steps["priority"][:T], gains)
    algorithm.imitate(0.0, 1.0)
    drawn = experience.reward > 0.01  # Steps of the smallest gain may not be among those that were drawn.
    torch.testing.assert_close(algorithm.past.steps["priority"][:T][drawn], gains[drawn])


@pytest.mark.parametrize(("epochs", "minibatches"), [(1, 1), (2, 3)])
def test_both_kinds_of_updates_train_the_same_parameters(epochs, minibatches):
    """After `learn` both learners hold the same state, of all updates, and the networks act by it."""
    objective = "ppo" if epochs > 1 else "a2c"
    algorithm = sil(objective=objective, epochs=epochs, minibatches=minibatches, imitations=4)
    experience = random_rollout(algorithm)
    algorithm.learn(Once(experience), 0.0)
    algorithm.learn(Once(experience), 0.0)
    assert algorithm.learner.updates == algorithm.imitator.updates == 2 * (epochs * minibatches + 4)
    assert first_difference(algorithm.learner.state_dict(), algorithm.imitator.state_dict()) is None
    assert torch.equal(acting(algorithm), algorithm.learner.flat)


def test_before_an_episode_has_ended_nothing_is_imitated():
    """Updates of zero gradient would shrink the optimiser's moments, and so lengthen the next steps; a resume knows.

    The networks act by what was learned from rollouts meanwhile.
    """
    algorithm, resumed = sil(imitations=4), sil(imitations=4)
    experience = random_rollout(algorithm)
    experience.terminated, experience.truncated = torch.zeros(2, T, N, dtype=torch.bool)
    algorithm.learn(Once(experience), 0.0)
    assert algorithm.learner.updates == 1
    assert torch.equal(acting(algorithm), algorithm.learner.flat)
    resumed.past.load_state_dict(algorithm.past.state_dict())
    assert not resumed.past.ready
    algorithm.learn(Once(random_rollout(algorithm)), 0.0)
    assert algorithm.learner.updates == 1 + 1 + 4
    resumed.past.load_state_dict(algorithm.past.state_dict())
    assert resumed.past.ready


def test_imitation_finds_the_action_that_paid():
    """Where action 0 alone paid, updates on the past alone raise its probability from a third to above 0.8."""
    algorithm = sil()
    experience = random_rollout(algorithm)
    experience.terminated = torch.ones(T, N, dtype=torch.bool)
    experience.reward = 5.0 * (experience.action == 0)
    algorithm.prepare(experience)
    for _ in range(100):
        algorithm.imitator.step(algorithm.past.sample(B, algorithm.generator), lr=1e-2, strength=1.0)
    with torch.no_grad():
        policy = algorithm.actor(experience.obs)
    assert policy.log_probs[..., 0].exp().mean() > 0.8


@pytest.mark.parametrize("length", [2, 3])
def test_windows_change_nothing_for_networks_without_memory(length):
    """Over a whole rollout, the loss is the same for windows of any length as for single transitions."""
    one, other = sil(BOX), sil(BOX)
    other.model.windows = Windows(length)
    experience = random_rollout(one)
    expected = one.loss(one.prepare(experience), torch.arange(T * N), **SCALARS)
    found = other.loss(other.prepare(experience), torch.arange(T * N // length), **SCALARS)
    torch.testing.assert_close(found, expected)


def test_a2c_takes_the_rollout_whole_and_once():
    """Several passes or parts are problems for ``a2c``, and parts must be equal for ``ppo``."""
    spec = {"env": EnvConfig(num_envs=3)}
    a2c = SILConfig(epochs=2, minibatches=5, horizon=5)
    assert [path for path, _ in a2c.problems(spec)] == ["epochs", "minibatches"]
    ppo = SILConfig(objective="ppo", epochs=2, minibatches=4, horizon=5)
    assert [path for path, _ in ppo.problems(spec)] == ["minibatches"]
    assert [path for path, _ in SILConfig(capacity=10).problems(spec)] == ["capacity"]
    single = SILConfig(horizon=1, normalize_advantage=True)
    assert [path for path, _ in single.problems({"env": EnvConfig()})] == ["normalize_advantage"]


def test_recurrent_networks_imitate_single_steps_from_stored_states():
    """Rollouts give the same loss in windows as step by step; what is drawn from the past has the critic's values."""
    losses = []
    for length in (1, 8):
        algorithm, rollout = (run := recurrent_run("sil", length, horizon=16, capacity=1000)).algorithm, collect(run)
        data = algorithm.prepare(rollout)
        losses.append(algorithm.loss(data, torch.arange(16 * 4 // length), **SCALARS))
        batch = algorithm.past.sample(32, algorithm.generator)
        value = algorithm.model("critic", batch["obs"]).squeeze(-1)
        torch.testing.assert_close(value, batch["value"], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-5, atol=1e-6)


def test_the_update_is_one_graph():
    """Traced as a whole, without breaks, updates change the parameters as eager ones do."""
    check_one_graph(lambda compile: sil(compile=compile))
