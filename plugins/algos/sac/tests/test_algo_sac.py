"""SAC's losses and gradients against independent references in float64, and what it does besides."""

import math

import numpy as np
import pytest
import torch
from gymnasium import spaces

from slmk import EnvInfo, Model, Parts, Sample
from slmk.builtin import RunningConfig
from slmk.builtin.running import Running
from slmk.testing.host_sync import host_syncs
from slmk.toolbox.soft import batch_of
from slmk_algo_sac import SACConfig
from slmk_algo_sac.sac import SAC
from slmk_net_mlp import MLPConfig
from slmk_net_mlp.mlp import MLP

B, OBS = 12, 4
DISCRETE = spaces.Discrete(3, start=2)
BOX = spaces.Box(np.array([-2.0, 0.0], np.float32), np.array([1.0, 10.0], np.float32))


def sac(action_space=BOX, num_envs=2, env_steps=0, normalizers=None, **options) -> SAC:
    info = EnvInfo(num_envs, {"obs": spaces.Box(-1, 1, (OBS,))}, action_space, torch.device("cpu"))
    config = SACConfig(**{"learning_starts": 0, "batch_size": B, **options})
    generator = torch.Generator().manual_seed(0)
    networks, groups = {}, {}
    for role, spec in SAC.roles(config, info).items():
        inputs = dict(info.observation_spaces) | dict(spec.extra)
        networks[role] = MLP(MLPConfig(hidden=(8,)), inputs, spec, generator)
        groups[role] = tuple(inputs)
    model = Model(networks, groups, normalizers or {})
    return SAC(config, info, Parts(model, {}, generator, "off", env_steps, 0))


def sample(algorithm: SAC, mask=False) -> Sample:
    generator = torch.Generator().manual_seed(1)
    obs, next_obs = ({"obs": torch.randn(B, OBS, generator=generator)} for _ in range(2))
    if mask:
        for each in (obs, next_obs):
            each["mask"] = torch.rand(B, 3, generator=generator) < 0.6
            each["mask"][:, 1] = True
    action = algorithm.actor.actions.uniform(obs, generator)
    weight = torch.rand(B, generator=generator) + 0.5
    weight[-2:] = 0
    return Sample(
        obs=obs,
        action=action,
        reward=torch.randn(B, generator=generator),
        next_obs=next_obs,
        terminated=torch.rand(B, generator=generator) < 0.3,
        truncated=torch.rand(B, generator=generator) < 0.3,
        discount=torch.full((B,), 0.99),
        weight=weight,
        index=torch.arange(B),
    )


class Fixed:
    """A memory that gives the same sample whenever it is asked, and remembers what it was told."""

    def __init__(self, sample: Sample) -> None:
        self._sample = sample
        self.asked: list[dict] = []
        self.told: list[torch.Tensor] = []

    def __len__(self) -> int:
        return 1000

    def sample(self, batch_size: int, **options) -> Sample:
        self.asked.append({"batch_size": batch_size, **options})
        return self._sample

    def feedback(self, batch: Sample, error: torch.Tensor) -> None:
        self.told.append(error)


class Reference:
    """The formulas of the papers in float64, with networks written out and each critic on its own."""

    def __init__(self, algorithm: SAC, batch: Sample, noise: torch.Tensor) -> None:
        self.batch, self.noise = batch, noise.double()
        self.actor = self.parameters(algorithm.model.networks["actor"])
        self.critic = self.parameters(algorithm.model.networks["critic"])
        self.target = self.parameters(algorithm.target.networks["critic"])
        self.log_alpha = algorithm.actor.temperature.log_alpha.detach().double().requires_grad_()
        self.space = BOX if algorithm.actor.actions.dimensions else DISCRETE

    @staticmethod
    def parameters(network: torch.nn.Module) -> dict[str, torch.Tensor]:
        return {name: p.detach().double().requires_grad_() for name, p in network.named_parameters()}

    @staticmethod
    def mlp(p: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x @ p["weight_0"] + p["bias_0"]) @ p["weight_out"] + p["bias_out"]

    def critics(self, p: dict[str, torch.Tensor], x: torch.Tensor) -> list[torch.Tensor]:
        return [self.mlp({name: value[e] for name, value in p.items()}, x) for e in range(2)]

    def policy(self, obs) -> torch.distributions.Distribution:
        features = self.mlp(self.actor, obs["obs"].double())
        if self.space is DISCRETE:
            if "mask" in obs:
                features = features.masked_fill(~obs["mask"], -1e9)
            return torch.distributions.Categorical(logits=features)
        mean, log_std = features[:, :2], features[:, 2:]
        base = torch.distributions.Normal(mean, log_std.clamp(-20, 2).exp())
        return torch.distributions.TransformedDistribution(base, torch.distributions.TanhTransform(cache_size=1))

    def soft_value(self, p, obs, noise):
        """E[min Q − α log π] and the entropy estimate, (B,) each."""
        alpha, policy, x = self.log_alpha.exp(), self.policy(obs), obs["obs"].double()
        if self.space is DISCRETE:
            q = torch.stack(self.critics(p, x)).min(0).values
            entropy = torch.where(policy.probs > 0, -policy.probs * policy.probs.clamp_min(1e-300).log(), 0.0).sum(-1)
            return (policy.probs * q).sum(-1) + alpha * entropy, entropy
        base = policy.base_dist
        action = policy.transforms[0](base.loc + base.scale * noise)
        q = torch.stack(self.critics(p, torch.cat([x, action], -1))).min(0).values.squeeze(-1)
        log_prob = policy.log_prob(action).sum(-1)
        return q - alpha * log_prob, -log_prob

    def critic_loss(self):
        b, x = self.batch, self.batch.obs["obs"].double()
        with torch.no_grad():
            value, _ = self.soft_value(self.target, b.next_obs, self.noise[1])
            target = b.reward.double() + 0.99 * (~b.terminated).double() * value
        if self.space is DISCRETE:
            q = [each[range(B), b.action - 2] for each in self.critics(self.critic, x)]
        else:
            low, high = (torch.as_tensor(bound).double() for bound in (BOX.low, BOX.high))
            unit = 2 * (b.action.double() - low) / (high - low) - 1
            q = [each.squeeze(-1) for each in self.critics(self.critic, torch.cat([x, unit], -1))]
        errors = [each - target for each in q]
        loss = sum(0.5 * (b.weight * error**2)[:-2].sum() / (B - 2) for error in errors)
        return loss, torch.stack(errors).abs().mean(0)

    def actor_loss(self):
        value, entropy = self.soft_value(self.critic, self.batch.obs, self.noise[0])
        weight = self.batch.weight
        return -(weight * value)[:-2].sum() / (B - 2), (weight * entropy)[:-2].sum() / (B - 2)


def moved(algorithm: SAC) -> SAC:
    """With a target network apart from the critics, and weights that give features of every size."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for module in (algorithm.model, algorithm.target):
            for parameter in module.parameters():
                parameter.add_(0.5 * torch.randn(parameter.shape, generator=generator))
    return algorithm


CASES = pytest.mark.parametrize(
    ("space", "mask"), [(BOX, False), (DISCRETE, False), (DISCRETE, True)], ids=["continuous", "discrete", "masked"]
)


@CASES
@pytest.mark.parametrize("role", ["critic", "actor"])
def test_loss_and_gradients_equal_a_float64_reference(space, mask, role):
    """Each loss, what it tells besides, and its gradient by all it trains, agree with the papers' formulas to 1e-4."""
    algorithm = moved(sac(space, temperature_init=0.3))
    batch = sample(algorithm, mask)
    noise = algorithm.actor.actions.noise(2, batch.reward, algorithm.generator)
    reference = Reference(algorithm, batch, noise)
    loss, values = getattr(algorithm, f"{role}_loss")(batch_of(batch), noise)
    expected, extra = getattr(reference, f"{role}_loss")()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    told = {"critic": "error", "actor": "policy/entropy"}[role]
    torch.testing.assert_close(values[told].double(), extra.double(), rtol=1e-4, atol=1e-5)
    mine = dict(algorithm.model.networks[role].named_parameters())
    theirs = getattr(reference, role)
    gradients = torch.autograd.grad(loss, list(mine.values()))
    references = torch.autograd.grad(expected, [theirs[name] for name in mine])
    for gradient, right in zip(gradients, references, strict=True):
        torch.testing.assert_close(gradient.double(), right, rtol=1e-3, atol=1e-5)


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
    algorithm = moved(sac(space, num_envs=1, temperature_init=0.5, **rates))
    algorithm.learner.sync()
    target = [p.clone() for p in algorithm.target.parameters()]
    before = {name: p.detach().clone() for name, p in algorithm.learner.parameters.items()}
    algorithm.learn(Fixed(sample(algorithm)), 0.0)
    for name, parameter in algorithm.learner.parameters.items():
        change = (parameter - before[name]).abs().max().item()
        assert change == pytest.approx(1e-2 if "log_alpha" in name else 1e-3, rel=1e-2)
    critic = algorithm.model.networks["critic"].parameters()
    for old, new, source in zip(target, algorithm.target.parameters(), critic, strict=True):
        torch.testing.assert_close(new, 0.75 * old + 0.25 * source)


def test_a_fixed_temperature_is_not_trained():
    """With a number for the temperature there is no third objective, and α stays."""
    algorithm = sac(temperature=0.2)
    metrics = algorithm.learn(Fixed(sample(algorithm)), 0.0)
    assert "loss/temperature" not in metrics
    assert algorithm.actor.temperature().item() == pytest.approx(0.2)


@pytest.mark.parametrize("num_envs", [1, 4, 16])
@pytest.mark.parametrize("utd_ratio", [1.0, 0.25])
def test_gradient_steps_per_transition(num_envs, utd_ratio):
    """After k calls of `learn` at horizon 3 there were ⌊ratio · 3 · N · k⌋ steps: fractions are carried over."""
    algorithm = sac(num_envs=num_envs, utd_ratio=utd_ratio, horizon=3)
    memory = Fixed(sample(algorithm))
    for calls in range(1, 6):
        algorithm.learn(memory, 0.5)
        assert algorithm.learner.updates == math.floor(utd_ratio * 3 * num_envs * calls)


def test_samples_are_asked_for_and_answered():
    """The memory is told batch size, discount, steps and progress, and gets back the mean absolute error of each."""
    algorithm = sac(n_step=3, gamma=0.9, num_envs=1)
    memory = Fixed(sample(algorithm))
    algorithm.learn(memory, 0.25)
    assert memory.asked == [{"batch_size": B, "gamma": 0.9, "n_step": 3, "progress": 0.25}]
    assert [error.shape for error in memory.told] == [(B,)]


def test_warm_up_acts_at_random_and_does_not_learn():
    """Up to 50 of 100 steps actions fill their whole range and nothing is learned; then the policy acts."""
    algorithm = sac(num_envs=1000, env_steps=100, learning_starts=50, utd_ratio=0.001)
    with torch.no_grad():
        for parameter in algorithm.model.networks["actor"].parameters():
            parameter.zero_()
        algorithm.model.networks["actor"].bias_out[2:] = -20  # A deviation of e^−20: always the middle of the range.
    obs = {"obs": torch.zeros(1000, OBS)}
    drawn = algorithm.act(obs, 0.49).action
    assert drawn.min(0).values.tolist() == pytest.approx([-2, 0], abs=0.1)
    assert drawn.max(0).values.tolist() == pytest.approx([1, 10], abs=0.1)
    assert algorithm.learn(Fixed(sample(algorithm)), 0.49) == {}
    chosen = algorithm.act(obs, 0.5).action
    torch.testing.assert_close(chosen, torch.tensor([-0.5, 5.0]).expand(1000, 2))
    torch.testing.assert_close(algorithm.policy(obs), chosen)
    assert algorithm.learn(Fixed(sample(algorithm)), 0.5)


def test_observation_statistics_move_with_acting_alone():
    """Each observation acted on counts once: mean and variance are those of all of them, whatever is evaluated."""
    algorithm = sac(normalizers={"obs": Running(RunningConfig(), (OBS,))}, num_envs=5)
    seen = torch.randn(6, 5, OBS, generator=torch.Generator().manual_seed(3)) * 3 + 1
    for obs in seen:
        algorithm.act({"obs": obs}, 0.0)
        algorithm.policy({"obs": obs + 100})
    algorithm.learn(Fixed(sample(algorithm)), 0.0)
    flat = seen.reshape(-1, OBS)
    normalised = algorithm.model.normalizers["obs"](flat)
    expected = (flat - flat.mean(0)) / flat.std(0, correction=0)
    torch.testing.assert_close(normalised, expected, rtol=1e-3, atol=1e-3)


def test_sequences_have_the_loss_of_their_steps():
    """(L, B) of a sequence, with padding of weight 0, has the loss of the same L·B single transitions."""
    algorithm = moved(sac(DISCRETE))
    flat = batch_of(sample(algorithm))

    def fold(x):
        return {name: fold(value) for name, value in x.items()} if isinstance(x, dict) else x.unflatten(0, (3, B // 3))

    for loss in (algorithm.critic_loss, algorithm.actor_loss):
        one, _ = loss(flat, torch.empty(2, B, 0))
        other, values = loss(fold(flat), torch.empty(2, 3, B // 3, 0))
        torch.testing.assert_close(one, other)
    assert values["policy/entropy"].shape == ()


@pytest.mark.parametrize("space", [BOX, DISCRETE], ids=["continuous", "discrete"])
def test_learning_reads_nothing_back(space):
    """Neither gradient steps nor acting wait for the device."""
    algorithm = sac(space)
    memory = Fixed(sample(algorithm))
    algorithm.learn(memory, 0.0)
    with host_syncs() as found:
        algorithm.learn(memory, 0.0)
        algorithm.act({"obs": torch.zeros(2, OBS)}, 0.0)
    assert found == []


def test_value_is_the_soft_value():
    """With critics that give 2 and 3 and equal logits of 3 actions, the value is 2 + α log 3."""
    algorithm = sac(DISCRETE, temperature=0.5)
    with torch.no_grad():
        for parameter in algorithm.model.parameters():
            parameter.zero_()
        algorithm.model.networks["critic"].bias_out[0] = 2.0
        algorithm.model.networks["critic"].bias_out[1] = 3.0
    value = algorithm.value({"obs": torch.zeros(5, OBS)})
    assert value.tolist() == pytest.approx([2 + 0.5 * math.log(3)] * 5)
