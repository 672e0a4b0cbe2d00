"""RLPD's losses and gradients against independent references in float64, and its cadence."""

import pytest
import torch

from slmk.testing.host_sync import host_syncs
from slmk.testing.off_policy import (
    BOX,
    DISCRETE,
    Fixed,
    SoftReference,
    assemble,
    check_gradients,
    check_warm_up,
    least,
    random_sample,
    scatter,
)
from slmk.toolbox.soft import batch_of
from slmk_algo_rlpd import RLPDConfig
from slmk_algo_rlpd.rlpd import RLPD
from slmk_net_mlp import MLPConfig
from slmk_net_mlp.mlp import MLP

B, CRITICS = 12, 5


def network(role, inputs, given, generator):
    """Layer-norm critics, as in the paper."""
    return MLP(MLPConfig(hidden=(8,), norm="layer" if role == "critic" else "none"), inputs, given, generator)


def rlpd(action_space=BOX, *, num_envs=1, env_steps=0, **options) -> RLPD:
    """With a target network apart from the critics."""
    config = RLPDConfig(**{"learning_starts": 0, "batch_size": B, "critics": CRITICS, **options})
    algorithm = assemble(RLPD, config, action_space, network, num_envs=num_envs, env_steps=env_steps)
    scatter(algorithm.model, algorithm.target)
    return algorithm


class Reference(SoftReference):
    """The losses with networks written out and each critic on its own."""

    def q(self, p, members, x):
        """Linear, layer normalisation, tanh, linear: (B, K) of each of these members of an ensemble."""
        values = []
        for member in members:
            h = x @ p["weight_0"][member] + p["bias_0"][member]
            h = (h - h.mean(-1, keepdim=True)) / (h.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
            h = torch.tanh(h * p["norms.0.weight"][member] + p["norms.0.bias"][member])
            values.append(h @ p["weight_out"][member] + p["bias_out"][member])
        return values

    def acts(self, obs, noise):
        x, a = obs["obs"].double(), self.actor
        features = torch.tanh(x @ a["weight_0"] + a["bias_0"]) @ a["weight_out"] + a["bias_out"]
        return self.policy(features, obs, noise)

    def critic_loss(self, subset, backup_entropy):
        b = self.batch
        policy = self.acts(b.next_obs, self.noise[1])
        q = least(self.q(self.target, subset, self.told(b.next_obs, policy.action)))
        next_value = policy.expectation(q) + (self.alpha * policy.entropy if backup_entropy else 0.0)
        return self.regression(self.q(self.critic, range(CRITICS), self.taken()), next_value)[0]

    def actor_loss(self):
        policy = self.acts(self.batch.obs, self.noise[0])
        q = self.q(self.critic, range(CRITICS), self.told(self.batch.obs, policy.action))
        return self.ascent(policy, sum(q) / CRITICS)[0]


def copy_of(module):
    """All its parameters as one vector of their own."""
    return torch.cat([p.detach().flatten().clone() for p in module.parameters()])


SPACES = pytest.mark.parametrize("space", [BOX, DISCRETE], ids=["continuous", "discrete"])


@SPACES
@pytest.mark.parametrize("backup_entropy", [True, False])
@pytest.mark.parametrize("subset", [(1, 4), (3, 0)])
def test_critic_loss_and_gradients_equal_a_float64_reference(space, backup_entropy, subset):
    """All critics move to the smallest target value of the subset alone, with or without its entropy."""
    algorithm, batch = rlpd(space, backup_entropy=backup_entropy, temperature_init=0.3), random_sample(space)
    noise = algorithm.actor.actions.noise(2, batch.reward, algorithm.generator)
    reference = Reference(algorithm, space, batch, noise)
    loss, _ = algorithm.critic_loss(batch_of(batch), noise, torch.tensor(subset))
    expected = reference.critic_loss(subset, backup_entropy)
    check_gradients(loss, expected, algorithm.model.networks["critic"], reference.critic)


@SPACES
def test_actor_loss_and_gradients_equal_a_float64_reference(space):
    """The actor is trained on the mean of all critics."""
    algorithm, batch = rlpd(space, temperature_init=0.3), random_sample(space)
    noise = algorithm.actor.actions.noise(2, batch.reward, algorithm.generator)
    reference = Reference(algorithm, space, batch, noise)
    loss, _ = algorithm.actor_loss(batch_of(batch), noise, torch.tensor([0, 1]))
    check_gradients(loss, reference.actor_loss(), algorithm.model.networks["actor"], reference.actor)


def test_subsets_are_of_different_critics_and_all_take_part():
    """Each of 200 draws names two different critics; every one of the five is drawn, and not always in one pair."""
    algorithm = rlpd()
    drawn = [tuple(algorithm.draw_subset().tolist()) for _ in range(200)]
    assert all(len(set(pair)) == 2 for pair in drawn)
    assert {member for pair in drawn for member in pair} == set(range(CRITICS))
    assert len({frozenset(pair) for pair in drawn}) == 10


def test_the_actor_moves_with_every_fourth_step_of_the_critics():
    """With `policy_delay` 4, actor and temperature stand still for three steps and move with the fourth and eighth."""
    algorithm = rlpd(utd_ratio=1.0, policy_delay=4)
    memory, moves = Fixed(random_sample(BOX)), []
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
    algorithm = rlpd(num_envs=num_envs, utd_ratio=5.0, policy_delay=5)
    memory, actor_steps = Fixed(random_sample(BOX)), 0
    step = algorithm.learner.step

    def count(*batch, **options):
        nonlocal actor_steps
        actor_steps += not options["only"]
        return step(*batch, **options)

    algorithm.learner.step = count
    for _ in range(3):
        algorithm.learn(memory, 0.0)
    assert algorithm.learner.updates == len(memory.told) == 15 * num_envs
    assert actor_steps == 3 * num_envs


def test_warm_up_acts_at_random_and_does_not_learn():
    """Up to 50 of 100 steps actions fill their whole range and nothing is learned; then the policy acts."""
    check_warm_up(rlpd(num_envs=1000, env_steps=100, learning_starts=50, utd_ratio=1e-3))


def test_learning_reads_nothing_back():
    """No gradient step waits for the device, neither of all objectives nor of the critics alone."""
    algorithm = rlpd(utd_ratio=4.0, policy_delay=2)
    memory = Fixed(random_sample(BOX))
    algorithm.learn(memory, 0.0)
    with host_syncs() as found:
        algorithm.learn(memory, 0.0)
    assert found == []


def test_a_subset_is_no_larger_than_the_whole():
    """Asking for 3 of 2 critics is a problem at `subset`; 2 of 2 is none."""
    assert [path for path, _ in RLPDConfig(critics=2, subset=3).problems({})] == ["subset"]
    assert not list(RLPDConfig(critics=2, subset=2).problems({}))
