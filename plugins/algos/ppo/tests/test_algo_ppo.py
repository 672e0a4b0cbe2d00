"""PPO's estimates, loss and gradients against independent references in float64."""

import pytest
import torch
from gymnasium import spaces

from slmk import EnvConfig
from slmk.builtin import RunningConfig
from slmk.builtin.running import Running
from slmk.testing.on_policy import (
    ENVS,
    Once,
    Reference,
    assemble,
    check_one_graph,
    collect,
    move_away,
    random_rollout,
    recurrent_run,
)
from slmk.windows import Windows
from slmk_algo_ppo import PPOConfig
from slmk_algo_ppo.ppo import PPO

T, N = 6, ENVS
DISCRETE, BOX = spaces.Discrete(3), spaces.Box(-1.0, 1.0, (2,))


def ppo(action_space=DISCRETE, normalizers=None, compile="off", **options) -> PPO:
    config = PPOConfig(**{"horizon": T, "minibatches": 2, "epochs": 1, **options})
    return assemble(PPO, config, action_space, normalizers=normalizers, compile=compile)


def clipped_loss(reference: Reference, data, index, clip, entropy, value_clip):
    """The loss of eq. 9 written out in float64."""
    obs, raw = data["obs"]["obs"][index], data["raw"][index]
    old, adv, ret, val = (data[name][index].double() for name in ("log_prob", "advantage", "returns", "value"))
    log_prob, bonus = reference.policy(obs, raw)
    adv = (adv - adv.mean()) / (adv.std() + 1e-8)
    ratio = torch.exp(log_prob - old)
    surrogate = torch.stack([ratio * adv, torch.clamp(ratio, 1 - clip, 1 + clip) * adv]).min(0).values
    value = reference.value(obs)
    error = (value - ret) ** 2
    if value_clip:
        error = torch.stack([error, (val + (value - val).clamp(-value_clip, value_clip) - ret) ** 2]).max(0).values
    return -surrogate.mean() + 0.5 * 0.5 * error.mean() - entropy * bonus.mean()


@pytest.mark.parametrize("space", [DISCRETE, BOX], ids=["discrete", "continuous"])
@pytest.mark.parametrize("value_clip", [0.0, 0.05])
def test_loss_and_gradients_equal_a_float64_reference(space, value_clip):
    """Away from the acting parameters, where both clips bind somewhere, loss and every gradient agree."""
    algorithm = ppo(space, value_clip=value_clip)
    data = algorithm.prepare(random_rollout(algorithm))
    move_away(algorithm)
    index = torch.arange(0, T * N, 2)
    loss, _ = algorithm.loss(data, index, clip=torch.tensor(0.2), entropy=torch.tensor(0.01))
    reference = Reference(algorithm)
    reference.check(algorithm, loss, clipped_loss(reference, data, index, 0.2, 0.01, value_clip))


@pytest.mark.parametrize("space", [DISCRETE, BOX], ids=["discrete", "continuous"])
def test_first_ratio_is_one(space):
    """At the acting parameters the KL estimate and the clipped share are exactly 0."""
    algorithm = ppo(space)
    data = algorithm.prepare(random_rollout(algorithm))
    _, metrics = algorithm.loss(data, torch.arange(T * N), clip=torch.tensor(0.2), entropy=torch.tensor(0.0))
    assert metrics["policy/kl"].item() == pytest.approx(0.0, abs=1e-7)
    assert metrics["policy/clipped"].item() == 0.0


def test_advantages_stop_at_episode_ends_and_bootstrap_at_truncation():
    """prepare() gives the advantages of a plain backward loop over δ = r + γ (1 − terminated) V(next) − V."""
    algorithm = ppo()
    experience = random_rollout(algorithm)
    data = algorithm.prepare(experience)
    value = algorithm.value(experience.obs).double()
    following = algorithm.value(experience.next_obs).double()
    expected = torch.zeros(T, N, dtype=torch.float64)
    for n in range(N):
        running = 0.0
        for t in reversed(range(T)):
            delta = experience.reward[t, n] + 0.99 * (not experience.terminated[t, n]) * following[t, n] - value[t, n]
            done = experience.terminated[t, n] or experience.truncated[t, n]
            running = delta + 0.99 * 0.95 * (not done) * running
            expected[t, n] = running
    torch.testing.assert_close(data["advantage"].view(T, N).double(), expected, rtol=1e-4, atol=1e-5)


def test_rewards_are_scaled_before_advantages_are_estimated():
    """With λ-returns of a critic that gives 0, returns are those of scaled rewards, whose statistics have moved."""
    algorithm = ppo(normalizers={"reward": Running(RunningConfig(), ())}, gamma=0.0)
    for parameter in algorithm.model.networks["critic"].parameters():
        parameter.data.zero_()
    experience = random_rollout(algorithm)
    data = algorithm.prepare(experience)
    spread = experience.reward.double().var(correction=0).add(1e-8).sqrt()
    expected = experience.reward.double() / spread
    torch.testing.assert_close(data["returns"].view(T, N).double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("length", [2, 3])
def test_windows_change_nothing_for_networks_without_memory(length):
    """Over a whole rollout, loss and metrics are the same for windows of any length as for single transitions."""
    algorithm = ppo(BOX)
    scalars = {"clip": torch.tensor(0.2), "entropy": torch.tensor(0.01)}
    experience = random_rollout(algorithm)
    expected = algorithm.loss(algorithm.prepare(experience), torch.arange(T * N), **scalars)
    algorithm.model.windows = Windows(length)
    data = algorithm.prepare(experience)
    assert data["obs"]["obs"].shape == (length, T * N // length, 4)
    found = algorithm.loss(data, torch.arange(T * N // length), **scalars)
    torch.testing.assert_close(found, expected)


def test_each_epoch_takes_every_sample_once(monkeypatch):
    """Two epochs of three minibatches: six steps, the first and the last three of which are a permutation each."""
    algorithm, taken = ppo(epochs=2, minibatches=3), []
    monkeypatch.setattr(algorithm.learner, "step", lambda data, index, **scalars: taken.append(index))
    algorithm.learn(Once(random_rollout(algorithm)), 0.0)
    assert [len(index) for index in taken] == [T * N // 3] * 6
    for epoch in (taken[:3], taken[3:]):
        assert sorted(torch.cat(epoch).tolist()) == list(range(T * N))


def test_target_kl_ends_the_epochs_early():
    """With a tiny target the second of ten epochs never starts; without one all ten run."""

    bounded = ppo(epochs=10, target_kl=1e-9, lr=1e-2)
    bounded.learn(Once(random_rollout(bounded)), 0.0)
    assert bounded.learner.updates == 2
    free = ppo(epochs=10, lr=1e-2)
    free.learn(Once(random_rollout(free)), 0.0)
    assert free.learner.updates == 20


@pytest.mark.parametrize(("share", "updates"), [(1.1, 4), (0.9, 2)])
def test_target_kl_is_compared_with_the_mean_of_a_pass(share, updates):
    """The first minibatch has a KL of 0 and the second twice the mean, to which a target just above or below is set."""
    measured = ppo(epochs=1, lr=1e-3)
    mean = measured.learn(Once(random_rollout(measured)), 0.0)["policy/kl"].item()
    bounded = ppo(epochs=2, lr=1e-3, target_kl=share * mean)
    bounded.learn(Once(random_rollout(bounded)), 0.0)
    assert bounded.learner.updates == updates


def test_rollout_must_split_into_minibatches():
    """A rollout of 2048 × 3 transitions does not split into 5 parts: a problem at `minibatches`."""
    config = PPOConfig(minibatches=5)
    assert [path for path, _ in config.problems({"env": EnvConfig(num_envs=3)})] == ["minibatches"]
    assert not list(config.problems({"env": EnvConfig(num_envs=5)}))


@pytest.mark.parametrize("length", [4, 8])
def test_first_ratio_is_one_for_recurrent_networks(length):
    """Unrolled over windows with ends of episodes in them, the networks give what they gave step by step."""
    algorithm, rollout = (run := recurrent_run("ppo", length, horizon=16, minibatches=2)).algorithm, collect(run)
    data = algorithm.prepare(rollout)
    index = torch.arange(algorithm.model.windows.count(16 * 4))
    _, metrics = algorithm.loss(data, index, clip=torch.tensor(0.2), entropy=torch.tensor(0.0))
    assert metrics["policy/kl"].item() == pytest.approx(0.0, abs=1e-6)
    values = algorithm.model("critic", data["obs"]).squeeze(-1)
    torch.testing.assert_close(values, data["value"], rtol=1e-5, atol=1e-6)


def test_the_update_is_one_graph():
    """Traced as a whole, without breaks, updates change the parameters as eager ones do."""
    check_one_graph(lambda compile: ppo(compile=compile))
