"""RLPD's losses and gradients against independent references in float64, and its cadence."""

import pytest
import torch
from gymnasium import spaces

from slmk import EnvInfo, Model, Parts, Sample
from slmk.testing.host_sync import host_syncs
from slmk.toolbox.soft import batch_of
from slmk_algo_rlpd import RLPDConfig
from slmk_algo_rlpd.rlpd import RLPD
from slmk_net_mlp import MLPConfig
from slmk_net_mlp.mlp import MLP

B, OBS, CRITICS = 12, 4, 5
DISCRETE, BOX = spaces.Discrete(3), spaces.Box(-1.0, 1.0, (2,))


def rlpd(action_space=BOX, num_envs=1, **options) -> RLPD:
    """With layer-norm critics, as in the paper, and a target network apart from the critics."""
    info = EnvInfo(num_envs, {"obs": spaces.Box(-1, 1, (OBS,))}, action_space, torch.device("cpu"))
    config = RLPDConfig(**{"learning_starts": 0, "batch_size": B, "critics": CRITICS, **options})
    generator = torch.Generator().manual_seed(0)
    networks, groups = {}, {}
    for role, spec in RLPD.roles(config, info).items():
        inputs = dict(info.observation_spaces) | dict(spec.extra)
        norm = "layer" if role == "critic" else "none"
        networks[role] = MLP(MLPConfig(hidden=(8,), norm=norm), inputs, spec, generator)
        groups[role] = tuple(inputs)
    algorithm = RLPD(config, info, Parts(Model(networks, groups, {}), {}, generator, "off", 0, 0))
    with torch.no_grad():
        for module in (algorithm.model, algorithm.target):
            for parameter in module.parameters():
                parameter.add_(0.5 * torch.randn(parameter.shape, generator=generator))
    return algorithm


def sample(algorithm: RLPD) -> Sample:
    generator = torch.Generator().manual_seed(1)
    obs, next_obs = ({"obs": torch.randn(B, OBS, generator=generator)} for _ in range(2))
    return Sample(
        obs=obs,
        action=algorithm.actor.actions.uniform(obs, generator),
        reward=torch.randn(B, generator=generator),
        next_obs=next_obs,
        terminated=torch.rand(B, generator=generator) < 0.3,
        truncated=torch.zeros(B, dtype=torch.bool),
        discount=torch.full((B,), 0.99),
        weight=torch.rand(B, generator=generator) + 0.5,
        index=torch.arange(B),
    )


class Fixed:
    """A memory that gives the same sample whenever it is asked."""

    def __init__(self, sample: Sample) -> None:
        self._sample = sample
        self.told = 0

    def __len__(self) -> int:
        return 1000

    def sample(self, batch_size: int, **options) -> Sample:
        return self._sample

    def feedback(self, batch: Sample, error: torch.Tensor) -> None:
        self.told += 1


class Reference:
    """The losses in float64, with networks written out and each critic on its own."""

    def __init__(self, algorithm: RLPD, batch: Sample, noise: torch.Tensor, space) -> None:
        self.batch, self.noise, self.space = batch, noise.double(), space
        self.actor, self.critic, self.target = (
            {name: p.detach().double().requires_grad_() for name, p in network.named_parameters()}
            for network in (
                algorithm.model.networks["actor"],
                algorithm.model.networks["critic"],
                algorithm.target.networks["critic"],
            )
        )
        self.alpha = algorithm.actor.temperature().item()

    def q(self, p, member, x):
        """Linear, layer normalisation, tanh, linear: of one member of an ensemble."""
        h = x @ p["weight_0"][member] + p["bias_0"][member]
        h = (h - h.mean(-1, keepdim=True)) / (h.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
        h = torch.tanh(h * p["norms.0.weight"][member] + p["norms.0.bias"][member])
        return h @ p["weight_out"][member] + p["bias_out"][member]

    def expectation(self, obs, noise, combine, p, members):
        """E of the combined values of some members, and E[−log π], (B,) each."""
        x, a = obs["obs"].double(), self.actor
        features = torch.tanh(x @ a["weight_0"] + a["bias_0"]) @ a["weight_out"] + a["bias_out"]
        if self.space is DISCRETE:
            policy = torch.distributions.Categorical(logits=features)
            q = combine(torch.stack([self.q(p, member, x) for member in members]))
            return (policy.probs * q).sum(-1), policy.entropy()
        base = torch.distributions.Normal(features[:, :2], features[:, 2:].clamp(-20, 2).exp())
        raw = base.loc + base.scale * noise
        inputs = torch.cat([x, raw.tanh()], -1)
        q = combine(torch.stack([self.q(p, member, inputs).squeeze(-1) for member in members]))
        return q, (-base.log_prob(raw) - 2 * raw.cosh().log()).sum(-1)  # 1 − tanh² is cosh⁻².

    def critic_loss(self, subset, backup_entropy):
        b, x = self.batch, self.batch.obs["obs"].double()
        with torch.no_grad():
            smallest = lambda q: q.min(0).values  # noqa: E731
            value, entropy = self.expectation(b.next_obs, self.noise[1], smallest, self.target, subset)
            if backup_entropy:
                value = value + self.alpha * entropy
            target = b.reward.double() + 0.99 * (~b.terminated).double() * value
        loss = 0.0
        for member in range(CRITICS):
            if self.space is DISCRETE:
                q = self.q(self.critic, member, x)[range(B), b.action]
            else:
                q = self.q(self.critic, member, torch.cat([x, b.action.double()], -1)).squeeze(-1)
            loss = loss + (0.5 * b.weight * (q - target) ** 2).mean()
        return loss

    def actor_loss(self):
        mean = lambda q: q.mean(0)  # noqa: E731
        value, entropy = self.expectation(self.batch.obs, self.noise[0], mean, self.critic, range(CRITICS))
        return -(self.batch.weight * (value + self.alpha * entropy)).mean()


def assert_equal(loss, expected, network, references):
    """Loss and every gradient agree."""
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    mine = dict(network.named_parameters())
    gradients = torch.autograd.grad(loss, list(mine.values()))
    right = torch.autograd.grad(expected, [references[name] for name in mine])
    for gradient, other in zip(gradients, right, strict=True):
        torch.testing.assert_close(gradient.double(), other, rtol=1e-3, atol=1e-5)


def copy_of(module):
    """All its parameters as one vector of their own."""
    return torch.cat([p.detach().flatten().clone() for p in module.parameters()])


SPACES = pytest.mark.parametrize("space", [BOX, DISCRETE], ids=["continuous", "discrete"])


@SPACES
@pytest.mark.parametrize("backup_entropy", [True, False])
@pytest.mark.parametrize("subset", [(1, 4), (3, 0)])
def test_critic_loss_and_gradients_equal_a_float64_reference(space, backup_entropy, subset):
    """All critics move to the smallest target value of the subset alone, with or without its entropy."""
    algorithm = rlpd(space, backup_entropy=backup_entropy, temperature_init=0.3)
    batch = sample(algorithm)
    noise = algorithm.actor.actions.noise(2, batch.reward, algorithm.generator)
    reference = Reference(algorithm, batch, noise, space)
    loss, _ = algorithm.critic_loss(batch_of(batch), noise, torch.tensor(subset))
    expected = reference.critic_loss(subset, backup_entropy)
    assert_equal(loss, expected, algorithm.model.networks["critic"], reference.critic)


@SPACES
def test_actor_loss_and_gradients_equal_a_float64_reference(space):
    """The actor is trained on the mean of all critics."""
    algorithm = rlpd(space, temperature_init=0.3)
    batch = sample(algorithm)
    noise = algorithm.actor.actions.noise(2, batch.reward, algorithm.generator)
    reference = Reference(algorithm, batch, noise, space)
    loss, _ = algorithm.actor_loss(batch_of(batch), noise, torch.tensor([0, 1]))
    assert_equal(loss, reference.actor_loss(), algorithm.model.networks["actor"], reference.actor)


def test_subsets_are_of_different_critics_and_all_take_part():
    """Each of 200 draws names two different critics; every one of the five is drawn, and not always in one pair."""
    algorithm = rlpd()
    drawn = [tuple(algorithm.draw_subset().tolist()) for _ in range(200)]
    assert all(len(set(pair)) == 2 for pair in drawn)
    assert {member for pair in drawn for member in pair} == set(range(CRITICS))
    assert len({frozenset(pair) for pair in drawn}) == 10


def test_the_actor_moves_with_every_fourth_step_of_the_critics():
    """With `actor_every` 4, actor and temperature stand still for three steps and move with the fourth and eighth."""
    algorithm = rlpd(utd_ratio=1.0, actor_every=4)
    memory, moves = Fixed(sample(algorithm)), []
    networks = algorithm.model.networks
    for _ in range(8):
        before = [copy_of(part) for part in (networks["actor"], algorithm.actor.temperature, networks["critic"])]
        algorithm.learn(memory, 0.0)
        after = [copy_of(part) for part in (networks["actor"], algorithm.actor.temperature, networks["critic"])]
        moves.append([not torch.equal(x, y) for x, y in zip(before, after, strict=True)])
    actor, temperature, critic = zip(*moves, strict=True)
    assert actor == temperature == (False, False, False, True) * 2
    assert all(critic)


@pytest.mark.parametrize("num_envs", [1, 4, 16])
def test_gradient_steps_per_transition(num_envs):
    """Three calls of `learn` make 3 · 5 · N steps of the critics, each answered, and one of the actor for 5 of them."""
    algorithm = rlpd(num_envs=num_envs, utd_ratio=5.0, actor_every=5)
    memory, actor_steps = Fixed(sample(algorithm)), 0
    step = algorithm.learner.step

    def count(*batch, **options):
        nonlocal actor_steps
        actor_steps += not options["only"]
        return step(*batch, **options)

    algorithm.learner.step = count
    for _ in range(3):
        algorithm.learn(memory, 0.0)
    assert algorithm.learner.updates == memory.told == 15 * num_envs
    assert actor_steps == 3 * num_envs


def test_learning_reads_nothing_back():
    """No gradient step waits for the device, neither of all objectives nor of the critics alone."""
    algorithm = rlpd(utd_ratio=4.0, actor_every=2)
    memory = Fixed(sample(algorithm))
    algorithm.learn(memory, 0.0)
    with host_syncs() as found:
        algorithm.learn(memory, 0.0)
    assert found == []


def test_a_subset_is_no_larger_than_the_whole():
    """Asking for 3 of 2 critics is a problem at `subset`; 2 of 2 is none."""
    assert [path for path, _ in RLPDConfig(critics=2, subset=3).problems({})] == ["subset"]
    assert not list(RLPDConfig(critics=2, subset=2).problems({}))
