"""CrossQ's losses and gradients against an independent reference in float64, and what it does besides."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from slmk import EnvInfo, Model, Parts, Sample
from slmk_algo_crossq import CrossQConfig
from slmk_algo_crossq.crossq import CrossQ, batch_of
from slmk_net_mlp import MLPConfig
from slmk_net_mlp.mlp import MLP

B, OBS = 12, 4
DISCRETE = spaces.Discrete(3, start=2)
BOX = spaces.Box(np.array([-2.0, 0.0], np.float32), np.array([1.0, 10.0], np.float32))
NET = MLPConfig(
    hidden=(8,), activation="relu", norm="batch_renorm", norm_position="after", norm_input=True, norm_warm_up=0
)


def crossq(action_space=BOX, num_envs=1, env_steps=0, compile="off", **options) -> CrossQ:
    """The algorithm with one hidden layer of 8 units, all parameters and statistics set apart at random."""
    info = EnvInfo(num_envs, {"obs": spaces.Box(-1, 1, (OBS,))}, action_space, torch.device("cpu"))
    config = CrossQConfig(**{"learning_starts": 0, "batch_size": B, **options})
    generator = torch.Generator().manual_seed(0)
    networks, groups = {}, {}
    for role, spec in CrossQ.roles(config, info).items():
        inputs = dict(info.observation_spaces) | dict(spec.extra)
        networks[role] = MLP(NET, inputs, spec, generator)
        groups[role] = tuple(inputs)
    with torch.no_grad():
        for network in networks.values():
            for parameter in network.parameters():
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
            for name, statistic in network.named_buffers():
                if not name.endswith("steps"):
                    statistic.add_(torch.rand(statistic.shape, generator=generator))
    return CrossQ(config, info, Parts(Model(networks, groups, {}), {}, generator, compile, env_steps, 0))


def sample(algorithm: CrossQ, mask=False, seed=1) -> Sample:
    """Random transitions, of which the last two have the weight 0; what comes next is spread otherwise than before."""
    generator = torch.Generator().manual_seed(seed)
    obs, next_obs = ({"obs": scale * torch.randn(B, OBS, generator=generator)} for scale in (1.0, 3.0))
    if mask:
        for each in (obs, next_obs):
            each["mask"] = torch.rand(B, 3, generator=generator) < 0.6
            each["mask"][:, 1] = True
    weight = torch.rand(B, generator=generator) + 0.5
    weight[-2:] = 0
    return Sample(
        obs=obs,
        action=algorithm.actor.actions.uniform(obs, generator),
        reward=torch.randn(B, generator=generator),
        next_obs=next_obs,
        terminated=torch.rand(B, generator=generator) < 0.3,
        truncated=torch.rand(B, generator=generator) < 0.3,
        discount=torch.full((B,), 0.99),
        weight=weight,
        index=torch.arange(B),
    )


class Fixed:
    """A memory that always gives one sample, and remembers what it was told."""

    def __init__(self, sample: Sample) -> None:
        self._sample = sample
        self.told: list[torch.Tensor] = []

    def __len__(self) -> int:
        return 1000

    def sample(self, batch_size: int, **options) -> Sample:
        return self._sample

    def feedback(self, batch: Sample, error: torch.Tensor) -> None:
        self.told.append(error)


class Net:
    """One network of `NET`, or one member, in float64 and written out."""

    def __init__(self, parameters, statistics, member=None):
        pick = (lambda x: x) if member is None else (lambda x: x[member])
        self.p = {name: pick(x).squeeze(0) if member is not None else x for name, x in parameters.items()}
        self.s = {name: pick(x).squeeze(0) if member is not None else x for name, x in statistics.items()}

    def norm(self, name, x, training):
        """Algorithm 1 of Ioffe (2017), with all limits; by the running statistics where not in training."""
        mean, spread = self.s[f"{name}.mean"], (self.s[f"{name}.var"] + 1e-3) ** 0.5
        if training:
            mu = x.mean(0)
            sigma = (((x - mu) ** 2).mean(0) + 1e-3) ** 0.5
            r = (sigma / spread).detach().clamp(1 / 3, 3)
            d = ((mu - mean) / spread).detach().clamp(-5, 5)
            normalised = (x - mu) / sigma * r + d
        else:
            normalised = (x - mean) / spread
        return normalised * self.p[f"{name}.weight"] + self.p[f"{name}.bias"]

    def __call__(self, x, training):
        x = self.norm("input_norm", x, training)
        x = self.norm("norms.0", torch.relu(x @ self.p["weight_0"] + self.p["bias_0"]), training)
        return x @ self.p["weight_out"] + self.p["bias_out"]


class Reference:
    """The formulas of the paper, as its authors' code applies them, in float64 and each critic on its own."""

    def __init__(self, algorithm: CrossQ, batch: Sample, noise: torch.Tensor) -> None:
        self.batch, self.noise = batch, noise.double()
        self.trained, self.nets = {}, {}
        for role, network in algorithm.model.networks.items():
            self.trained[role] = {n: p.detach().double().requires_grad_() for n, p in network.named_parameters()}
            statistics = {n: x.double().clone() for n, x in network.named_buffers() if not n.endswith("steps")}
            members = [None] if role == "actor" else [0, 1]
            self.nets[role] = [Net(self.trained[role], statistics, member) for member in members]
        self.alpha = algorithm.actor.temperature().item()
        self.discrete = not algorithm.actor.actions.dimensions

    def policy(self, obs, noise, training):
        """Probabilities and logarithms of all actions (B, n); or an action (B, 2) and the logarithm of its density."""
        features = self.nets["actor"][0](obs["obs"].double(), training)
        if self.discrete:
            if "mask" in obs:
                features = features.masked_fill(~obs["mask"], -1e9)
            return features.softmax(-1), features.log_softmax(-1)
        mean, log_std = features[:, :2], features[:, 2:].clamp(-20, 2)
        raw = mean + log_std.exp() * noise
        log_prob = torch.distributions.Normal(mean, log_std.exp()).log_prob(raw) - torch.log(1 - raw.tanh() ** 2)
        return raw.tanh(), log_prob.sum(-1)

    def soft(self, q, policy):
        """E[min Q − α log π] for the values (B, K) of each critic, and the entropy."""
        smallest = torch.stack(q).min(0).values
        if not self.discrete:
            return smallest.squeeze(-1) - self.alpha * policy[1], -policy[1]
        p, log_p = policy
        entropy = -torch.where(p > 0, p * log_p, 0.0).sum(-1)
        return (p * smallest).sum(-1) + self.alpha * entropy, entropy

    def told(self, obs, action):
        return obs["obs"].double() if self.discrete else torch.cat([obs["obs"].double(), action], -1)

    def unit(self):
        low, high = (torch.as_tensor(bound).double() for bound in (BOX.low, BOX.high))
        return None if self.discrete else 2 * (self.batch.action.double() - low) / (high - low) - 1

    def critic_loss(self, joint=True):
        """With ``joint=False`` each half is normalised on its own, which CrossQ is not."""
        b, critics = self.batch, self.nets["critic"]
        policy = self.policy(b.next_obs, self.noise[1], training=False)
        now, then = self.told(b.obs, self.unit()), self.told(b.next_obs, policy[0])
        if joint:
            both = [critic(torch.cat([now, then]), training=True) for critic in critics]
            q, next_q = [x[:B] for x in both], [x[B:] for x in both]
        else:
            q, next_q = ([critic(x, training=True) for critic in critics] for x in (now, then))
        value, _ = self.soft(next_q, policy)
        target = (b.reward.double() + 0.99 * (~b.terminated).double() * value).detach()
        taken = [x[range(B), b.action - 2] if self.discrete else x.squeeze(-1) for x in q]
        errors = [x - target for x in taken]
        loss = sum(0.5 * (b.weight * error**2)[:-2].sum() / (B - 2) for error in errors)
        return loss, torch.stack(errors).abs().mean(0)

    def actor_loss(self):
        policy = self.policy(self.batch.obs, self.noise[0], training=True)
        told = self.told(self.batch.obs, policy[0])
        value, entropy = self.soft([critic(told, training=False) for critic in self.nets["critic"]], policy)
        weight = self.batch.weight
        return -(weight * value)[:-2].sum() / (B - 2), (weight * entropy)[:-2].sum() / (B - 2)


CASES = pytest.mark.parametrize(
    ("space", "mask"), [(BOX, False), (DISCRETE, False), (DISCRETE, True)], ids=["continuous", "discrete", "masked"]
)


def case(space, mask=False):
    """An algorithm, a sample, noise, and the reference for them."""
    algorithm = crossq(space, temperature_init=0.3)
    batch = sample(algorithm, mask)
    noise = algorithm.actor.actions.noise(2, batch.reward, algorithm.generator)
    return algorithm, batch, noise, Reference(algorithm, batch, noise)


@CASES
@pytest.mark.parametrize("role", ["critic", "actor"])
def test_loss_and_gradients_equal_a_float64_reference(space, mask, role):
    """Each loss, what it tells besides, and its gradient by all it trains, agree with the reference to 1e-4."""
    algorithm, batch, noise, reference = case(space, mask)
    expected, extra = getattr(reference, f"{role}_loss")()
    # As the learner does: to a loss, what it does not train is a constant, and so not in training.
    algorithm.model.requires_grad_(False).networks[role].requires_grad_(True)
    loss, values = getattr(algorithm, f"{role}_loss")(batch_of(batch), noise)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    told = {"critic": "error", "actor": "policy/entropy"}[role]
    torch.testing.assert_close(values[told].double(), extra.double(), rtol=1e-4, atol=1e-5)
    mine = dict(algorithm.model.networks[role].named_parameters())
    gradients = torch.autograd.grad(loss, list(mine.values()))
    references = torch.autograd.grad(expected, [reference.trained[role][name] for name in mine])
    for gradient, right in zip(gradients, references, strict=True):
        torch.testing.assert_close(gradient.double(), right, rtol=1e-3, atol=1e-5)


def test_the_joint_batch_is_what_matters():
    """Normalising (s, a) and (s′, a′) apart gives a loss that is off by more than 1 %: a hundred tolerances."""
    *_, reference = case(BOX)
    joint, apart = (reference.critic_loss(joint)[0].item() for joint in (True, False))
    assert abs(apart / joint - 1) > 0.01


def test_critics_statistics_are_those_of_both_halves():
    """After a step of the critics alone, their running means of the observations moved by 1 % to that of s and s′."""
    algorithm = crossq(policy_delay=2)
    batch = sample(algorithm)
    critic, actor = (algorithm.model.networks[role] for role in ("critic", "actor"))
    before = {name: x.clone() for name, x in [*critic.named_buffers(), ("actor", actor.input_norm.mean)]}
    algorithm.learn(Fixed(batch), 0.0)
    both = torch.cat([batch.obs["obs"], batch.next_obs["obs"]]).mean(0)
    expected = 0.99 * before["input_norm.mean"][..., :OBS] + 0.01 * both
    torch.testing.assert_close(critic.input_norm.mean[..., :OBS], expected)
    assert torch.equal(actor.input_norm.mean, before["actor"])
    assert critic.norms[0].steps.item() == 1


def test_actor_statistics_move_with_the_actor_alone():
    """A step of everything moves the actor's mean by 1 % to that of s, and the critics' once, not twice."""
    algorithm = crossq(policy_delay=1)
    batch = sample(algorithm)
    actor = algorithm.model.networks["actor"]
    before = actor.input_norm.mean.clone()
    algorithm.learn(Fixed(batch), 0.0)
    torch.testing.assert_close(actor.input_norm.mean, 0.99 * before + 0.01 * batch.obs["obs"].mean(0))
    assert algorithm.model.networks["critic"].input_norm.steps.item() == 1


def test_every_third_step_trains_the_actor():
    """Of seven gradient steps the third and the sixth change actor and temperature; all change the critics."""
    algorithm = crossq()
    memory = Fixed(sample(algorithm))
    changed = {name: [] for name in ("actor", "critic", "temperature")}
    parts = dict(algorithm.model.networks.items()) | {"temperature": algorithm.actor.temperature}
    for step in range(1, 8):
        before = {name: [p.detach().clone() for p in part.parameters()] for name, part in parts.items()}
        metrics = algorithm.learn(memory, 0.0)
        assert ("loss/actor" in metrics) == (step in (3, 6))
        for name, part in parts.items():
            if any(not torch.equal(p, old) for p, old in zip(part.parameters(), before[name], strict=True)):
                changed[name].append(step)
    assert changed == {"actor": [3, 6], "critic": [1, 2, 3, 4, 5, 6, 7], "temperature": [3, 6]}
    assert [error.shape for error in memory.told] == [(B,)] * 7


def test_moments_forget_half():
    """β₁ is ½ for actor and critics, whose first moment is half the gradient after one step, and 0.9 for log α."""
    algorithm = crossq(policy_delay=1)
    metrics = algorithm.learn(Fixed(sample(algorithm)), 0.0)
    state = algorithm.learner.state_dict()["objectives"]
    for name, share in (("critic", 0.5), ("actor", 0.5), ("temperature", 0.1)):
        norm = metrics[f"update/{name}_grad_norm"].item()
        assert state[name]["first_moment"].norm().item() == pytest.approx(share * norm, rel=1e-4)


def test_warm_up_acts_at_random_and_does_not_learn():
    """Up to 50 of 100 steps actions fill their whole range and nothing is learned; then the policy acts."""
    algorithm = crossq(num_envs=1000, env_steps=100, learning_starts=50, utd_ratio=1e-3)
    with torch.no_grad():
        actor = algorithm.model.networks["actor"]
        actor.weight_out.zero_()
        actor.bias_out.copy_(torch.tensor([0, 0, -20, -20]))  # A deviation of e^−20: always the middle of the range.
    obs = {"obs": torch.zeros(1000, OBS)}
    drawn = algorithm.act(obs, 0.49).action
    assert drawn.min(0).values.tolist() == pytest.approx([-2, 0], abs=0.1)
    assert drawn.max(0).values.tolist() == pytest.approx([1, 10], abs=0.1)
    assert algorithm.learn(Fixed(sample(algorithm)), 0.49) == {}
    chosen = algorithm.act(obs, 0.5).action
    torch.testing.assert_close(chosen, torch.tensor([-0.5, 5.0]).expand(1000, 2))
    torch.testing.assert_close(algorithm.policy(obs), chosen)
    assert algorithm.learn(Fixed(sample(algorithm)), 0.5)


def test_sequences_have_the_loss_of_their_steps():
    """(L, B) of a sequence has the losses of the same L·B single transitions: the batch is all of them."""
    flat = batch_of(sample(crossq(DISCRETE)))

    def fold(x):
        return {name: fold(value) for name, value in x.items()} if isinstance(x, dict) else x.unflatten(0, (3, B // 3))

    for name in ("critic_loss", "actor_loss"):
        one, _ = getattr(crossq(DISCRETE), name)(flat, torch.empty(2, B, 0))
        other, _ = getattr(crossq(DISCRETE), name)(fold(flat), torch.empty(2, 3, B // 3, 0))
        torch.testing.assert_close(one, other)


@pytest.mark.slow
def test_a_compiled_step_equals_an_eager_one():
    """Three steps of everything give the same parameters and statistics, compiled or not."""
    found = []
    for compile in ("off", "on"):
        algorithm = crossq(policy_delay=1, compile=compile)
        for seed in range(3):
            algorithm.learn(Fixed(sample(algorithm, seed=seed)), 0.0)
        assert algorithm.learner.choice == {"off": "eager", "on": "compiled"}[compile]
        found.append(algorithm.model.state_dict())
    # Adam turns the sign of a gradient that is 0 but for rounding into a step of lr, 1e-3.
    torch.testing.assert_close(found[1], found[0], rtol=1e-3, atol=3e-3)
