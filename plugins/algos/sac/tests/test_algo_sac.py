"""SAC's losses and gradients against independent references in float64, and what it does besides."""

import math

import pytest
import torch

from slmk.builtin import RunningConfig
from slmk.builtin.running import Running
from slmk.testing.host_sync import host_syncs
from slmk.testing.off_policy import (
    BOX,
    DISCRETE,
    WIDTH,
    Fixed,
    SoftReference,
    assemble,
    check_gradients,
    check_warm_up,
    fold,
    least,
    random_sample,
    scatter,
)
from slmk.toolbox.soft import batch_of
from slmk_algo_sac import SACConfig
from slmk_algo_sac.sac import SAC
from slmk_net_mlp import MLPConfig
from slmk_net_mlp.mlp import MLP

B = 12


def network(role, inputs, given, generator):
    return MLP(MLPConfig(hidden=(8,)), inputs, given, generator)


def sac(action_space=BOX, *, num_envs=2, env_steps=0, normalizers=None, **options) -> SAC:
    config = SACConfig(**{"learning_starts": 0, "batch_size": B, **options})
    return assemble(SAC, config, action_space, network, num_envs=num_envs, env_steps=env_steps, normalizers=normalizers)


def moved(action_space=BOX, **options) -> SAC:
    """With a target network apart from the critics, and weights that give features of every size."""
    algorithm = sac(action_space, **options)
    scatter(algorithm.model, algorithm.target)
    return algorithm


class Reference(SoftReference):
    """The formulas of the papers, with networks written out and each critic on its own."""

    @staticmethod
    def mlp(p, x):
        return torch.tanh(x @ p["weight_0"] + p["bias_0"]) @ p["weight_out"] + p["bias_out"]

    def critics(self, p, x):
        return [self.mlp({name: value[e] for name, value in p.items()}, x) for e in range(2)]

    def acts(self, obs, noise):
        return self.policy(self.mlp(self.actor, obs["obs"].double()), obs, noise)

    def critic_loss(self):
        b = self.batch
        policy = self.acts(b.next_obs, self.noise[1])
        q = least(self.critics(self.target, self.told(b.next_obs, policy.action)))
        next_value = policy.expectation(q) + self.alpha * policy.entropy
        return self.regression(self.critics(self.critic, self.taken()), next_value)

    def actor_loss(self):
        policy = self.acts(self.batch.obs, self.noise[0])
        return self.ascent(policy, least(self.critics(self.critic, self.told(self.batch.obs, policy.action))))


CASES = pytest.mark.parametrize(
    ("space", "mask"), [(BOX, False), (DISCRETE, False), (DISCRETE, True)], ids=["continuous", "discrete", "masked"]
)


@CASES
@pytest.mark.parametrize("role", ["critic", "actor"])
def test_loss_and_gradients_equal_a_float64_reference(space, mask, role):
    """Each loss, what it tells besides, and its gradient by all it trains, agree with the papers' formulas to 1e-4."""
    algorithm, batch = moved(space, temperature_init=0.3), random_sample(space, mask=mask)
    noise = algorithm.actor.actions.noise(2, batch.reward, algorithm.generator)
    reference = Reference(algorithm, space, batch, noise)
    loss, values = getattr(algorithm, f"{role}_loss")(batch_of(batch), noise)
    expected, extra = getattr(reference, f"{role}_loss")()
    told = {"critic": "error", "actor": "policy/entropy"}[role]
    torch.testing.assert_close(values[told].double(), extra, rtol=1e-4, atol=1e-5)
    check_gradients(loss, expected, algorithm.model.networks[role], getattr(reference, role))


def test_gradient_of_the_temperature():
    """At α = 0.3, with 1.5 nats where −2 are wanted, loss and derivative by log α are 0.3 · 3.5 = 1.05."""
    algorithm = sac(temperature_init=0.3)
    loss, values = algorithm.actor.temperature_loss({}, torch.empty(0), metrics={"policy/entropy": torch.tensor(1.5)})
    loss.backward()
    assert loss.item() == pytest.approx(1.05)
    assert algorithm.actor.temperature.log_alpha.grad.item() == pytest.approx(1.05)
    assert values["policy/temperature"].item() == pytest.approx(0.3)


@pytest.mark.parametrize("space", [BOX, DISCRETE], ids=["continuous", "discrete"])
def test_one_step_trains_everything_and_moves_the_target(space):
    """Critic, actor and temperature take one step of Adam each: lr per parameter; the target moves by a share tau."""
    rates = {"lr": 1e-3, "temperature_lr": 1e-2, "tau": 0.25}
    algorithm = moved(space, num_envs=1, temperature_init=0.5, **rates)
    algorithm.learner.sync()
    target = [p.clone() for p in algorithm.target.parameters()]
    before = {name: p.detach().clone() for name, p in algorithm.learner.parameters.items()}
    algorithm.learn(Fixed(random_sample(space)), 0.0)
    for name, parameter in algorithm.learner.parameters.items():
        change = (parameter - before[name]).abs().max().item()
        assert change == pytest.approx(1e-2 if "log_alpha" in name else 1e-3, rel=1e-2)
    critic = algorithm.model.networks["critic"].parameters()
    for old, new, source in zip(target, algorithm.target.parameters(), critic, strict=True):
        torch.testing.assert_close(new, 0.75 * old + 0.25 * source)


def test_a_fixed_temperature_is_not_trained():
    """With a number for the temperature there is no third objective, and α stays."""
    algorithm = sac(temperature=0.2)
    metrics = algorithm.learn(Fixed(random_sample(BOX)), 0.0)
    assert "loss/temperature" not in metrics
    assert algorithm.actor.temperature().item() == pytest.approx(0.2)


@pytest.mark.parametrize("num_envs", [1, 4, 16])
@pytest.mark.parametrize("utd_ratio", [1.0, 0.25])
def test_gradient_steps_per_transition(num_envs, utd_ratio):
    """After k calls of `learn` at horizon 3 there were ⌊ratio · 3 · N · k⌋ steps: fractions are carried over."""
    algorithm = sac(num_envs=num_envs, utd_ratio=utd_ratio, horizon=3)
    memory = Fixed(random_sample(BOX))
    for calls in range(1, 6):
        algorithm.learn(memory, 0.5)
        assert algorithm.learner.updates == math.floor(utd_ratio * 3 * num_envs * calls)


def test_warm_up_acts_at_random_and_does_not_learn():
    """Up to 50 of 100 steps actions fill their whole range and nothing is learned; then the policy acts."""
    check_warm_up(sac(num_envs=1000, env_steps=100, learning_starts=50, utd_ratio=0.001))


def test_observation_statistics_move_with_acting_alone():
    """Each observation acted on counts once: mean and variance are those of all of them, whatever is evaluated."""
    algorithm = sac(normalizers={"obs": Running(RunningConfig(), (WIDTH,))}, num_envs=5)
    seen = torch.randn(6, 5, WIDTH, generator=torch.Generator().manual_seed(3)) * 3 + 1
    for obs in seen:
        algorithm.act({"obs": obs}, 0.0)
        algorithm.policy({"obs": obs + 100})
    algorithm.learn(Fixed(random_sample(BOX)), 0.0)
    flat = seen.reshape(-1, WIDTH)
    normalised = algorithm.model.normalizers["obs"](flat)
    expected = (flat - flat.mean(0)) / flat.std(0, correction=0)
    torch.testing.assert_close(normalised, expected, rtol=1e-3, atol=1e-3)


def test_sequences_have_the_loss_of_their_steps():
    """(L, B) of a sequence, with padding of weight 0, has the loss of the same L·B single transitions."""
    algorithm, flat = moved(DISCRETE), batch_of(random_sample(DISCRETE))
    for loss in (algorithm.critic_loss, algorithm.actor_loss):
        one, _ = loss(flat, torch.empty(2, B, 0))
        other, values = loss(fold(flat, 3), torch.empty(2, 3, B // 3, 0))
        torch.testing.assert_close(one, other)
    assert values["policy/entropy"].shape == ()


@pytest.mark.parametrize("space", [BOX, DISCRETE], ids=["continuous", "discrete"])
def test_learning_reads_nothing_back(space):
    """Neither gradient steps nor acting wait for the device."""
    algorithm = sac(space)
    memory = Fixed(random_sample(space))
    algorithm.learn(memory, 0.0)
    with host_syncs() as found:
        algorithm.learn(memory, 0.0)
        algorithm.act({"obs": torch.zeros(2, WIDTH)}, 0.0)
    assert found == []


def test_value_is_the_soft_value():
    """With critics that give 2 and 3 and equal logits of 3 actions, the value is 2 + α log 3."""
    algorithm = sac(DISCRETE, temperature=0.5)
    with torch.no_grad():
        for parameter in algorithm.model.parameters():
            parameter.zero_()
        algorithm.model.networks["critic"].bias_out[0] = 2.0
        algorithm.model.networks["critic"].bias_out[1] = 3.0
    value = algorithm.value({"obs": torch.zeros(5, WIDTH)})
    assert value.tolist() == pytest.approx([2 + 0.5 * math.log(3)] * 5)
