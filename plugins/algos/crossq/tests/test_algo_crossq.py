"""CrossQ's losses and gradients against an independent reference in float64, and what it does besides."""

import pytest
import torch

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
from slmk_algo_crossq import CrossQConfig
from slmk_algo_crossq.crossq import CrossQ, batch_of, joined
from slmk_net_mlp import MLPConfig
from slmk_net_mlp.mlp import MLP

B = 12
NET = MLPConfig(
    hidden=(8,), activation="relu", norm="batch_renorm", norm_position="after", norm_input=True, norm_warm_up=0
)


def network(role, inputs, given, generator):
    return MLP(NET, inputs, given, generator)


def crossq(action_space=BOX, *, num_envs=1, env_steps=0, compile="off", **options) -> CrossQ:
    """The algorithm with one hidden layer of 8 units, all parameters and statistics set apart at random."""
    config = CrossQConfig(**{"learning_starts": 0, "batch_size": B, **options})
    algorithm = assemble(CrossQ, config, action_space, network, num_envs=num_envs, env_steps=env_steps, compile=compile)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for each in algorithm.model.networks.values():
            scatter(each, by=0.3)
            for name, statistic in each.named_buffers():
                if not name.endswith("steps"):
                    statistic.add_(torch.rand(statistic.shape, generator=generator))
    return algorithm


def sample(action_space=BOX, **options):
    """What comes next is spread otherwise than what was before."""
    return random_sample(action_space, spread=3.0, **options)


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


class Reference(SoftReference):
    """The formulas of the paper, as its authors' code applies them, each critic on its own."""

    def __init__(self, algorithm, action_space, batch, noise):
        super().__init__(algorithm, action_space, batch, noise)
        self.nets = {}
        for role, members in (("actor", [None]), ("critic", [0, 1])):
            buffers = algorithm.model.networks[role].named_buffers()
            statistics = {n: x.double().clone() for n, x in buffers if not n.endswith("steps")}
            self.nets[role] = [Net(getattr(self, role), statistics, member) for member in members]

    def acts(self, obs, noise, training):
        return self.policy(self.nets["actor"][0](obs["obs"].double(), training), obs, noise)

    def critic_loss(self, joint=True):
        """With ``joint=False`` each half is normalised on its own, which CrossQ is not."""
        b, critics = self.batch, self.nets["critic"]
        policy = self.acts(b.next_obs, self.noise[1], training=False)
        now, then = self.taken(), self.told(b.next_obs, policy.action)
        if joint:
            both = [critic(torch.cat([now, then]), training=True) for critic in critics]
            q, next_q = [x[:B] for x in both], [x[B:] for x in both]
        else:
            q, next_q = ([critic(x, training=True) for critic in critics] for x in (now, then))
        return self.regression(q, policy.expectation(least(next_q)) + self.alpha * policy.entropy)

    def actor_loss(self):
        policy = self.acts(self.batch.obs, self.noise[0], training=True)
        told = self.told(self.batch.obs, policy.action)
        return self.ascent(policy, least([critic(told, training=False) for critic in self.nets["critic"]]))


CASES = pytest.mark.parametrize(
    ("space", "mask"), [(BOX, False), (DISCRETE, False), (DISCRETE, True)], ids=["continuous", "discrete", "masked"]
)


def case(space, mask=False):
    """An algorithm, a sample, noise, and the reference for them."""
    algorithm, batch = crossq(space, temperature_init=0.3), sample(space, mask=mask)
    noise = algorithm.actor.actions.noise(2, batch.reward, algorithm.generator)
    return algorithm, batch, noise, Reference(algorithm, space, batch, noise)


@CASES
@pytest.mark.parametrize("role", ["critic", "actor"])
def test_loss_and_gradients_equal_a_float64_reference(space, mask, role):
    """Each loss, what it tells besides, and its gradient by all it trains, agree with the reference to 1e-4."""
    algorithm, batch, noise, reference = case(space, mask)
    expected, extra = getattr(reference, f"{role}_loss")()
    # As the learner does: to a loss, what it does not train is a constant, and so not in training.
    algorithm.model.requires_grad_(False).networks[role].requires_grad_(True)
    loss, values = getattr(algorithm, f"{role}_loss")(batch_of(batch), noise)
    told = {"critic": "error", "actor": "policy/entropy"}[role]
    torch.testing.assert_close(values[told].double(), extra, rtol=1e-4, atol=1e-5)
    check_gradients(loss, expected, algorithm.model.networks[role], getattr(reference, role))


def test_the_joint_batch_is_what_matters():
    """Normalising (s, a) and (s′, a′) apart gives a loss that is off by more than 1 %: a hundred tolerances."""
    *_, reference = case(BOX)
    joint, apart = (reference.critic_loss(joint)[0].item() for joint in (True, False))
    assert abs(apart / joint - 1) > 0.01


def test_critics_statistics_are_those_of_both_halves():
    """After a step of the critics alone, their running means of the observations moved by 1 % to that of s and s′."""
    algorithm = crossq(policy_delay=2)
    batch = sample()
    critic, actor = (algorithm.model.networks[role] for role in ("critic", "actor"))
    before = {name: x.clone() for name, x in [*critic.named_buffers(), ("actor", actor.input_norm.mean)]}
    algorithm.learn(Fixed(batch), 0.0)
    both = torch.cat([batch.obs["obs"], batch.next_obs["obs"]]).mean(0)
    expected = 0.99 * before["input_norm.mean"][..., :WIDTH] + 0.01 * both
    torch.testing.assert_close(critic.input_norm.mean[..., :WIDTH], expected)
    assert torch.equal(actor.input_norm.mean, before["actor"])
    assert critic.norms[0].steps.item() == 1


def test_actor_statistics_move_with_the_actor_alone():
    """A step of everything moves the actor's mean by 1 % to that of s, and the critics' once, not twice."""
    algorithm = crossq(policy_delay=1)
    batch = sample()
    actor = algorithm.model.networks["actor"]
    before = actor.input_norm.mean.clone()
    algorithm.learn(Fixed(batch), 0.0)
    torch.testing.assert_close(actor.input_norm.mean, 0.99 * before + 0.01 * batch.obs["obs"].mean(0))
    assert algorithm.model.networks["critic"].input_norm.steps.item() == 1


def test_every_third_step_trains_the_actor():
    """Of seven gradient steps the third and the sixth change actor and temperature; all change the critics."""
    algorithm = crossq()
    memory = Fixed(sample())
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


@pytest.mark.parametrize(("options", "forgotten"), [({}, 0.5), ({"adam_beta1": 0.75}, 0.25)])
def test_moments_forget_half(options, forgotten):
    """β₁ is ½ for actor and critics, or what it is set to: after one step their first moment is that much less than
    the gradient. For log α it is 0.9."""
    algorithm = crossq(policy_delay=1, **options)
    metrics = algorithm.learn(Fixed(sample()), 0.0)
    state = algorithm.learner.state_dict()["objectives"]
    for name, share in (("critic", forgotten), ("actor", forgotten), ("temperature", 0.1)):
        norm = metrics[f"update/{name}_grad_norm"].item()
        assert state[name]["first_moment"].norm().item() == pytest.approx(share * norm, rel=1e-4)


def test_warm_up_acts_at_random_and_does_not_learn():
    """Up to 50 of 100 steps actions fill their whole range and nothing is learned; then the policy acts."""
    check_warm_up(crossq(num_envs=1000, env_steps=100, learning_starts=50, utd_ratio=1e-3))


def test_sequences_have_the_loss_of_their_steps():
    """(L, B) of a sequence has the losses of the same L·B single transitions: the batch is all of them."""
    flat = batch_of(sample(DISCRETE))
    for name in ("critic_loss", "actor_loss"):
        one, _ = getattr(crossq(DISCRETE), name)(flat, torch.empty(2, B, 0))
        other, _ = getattr(crossq(DISCRETE), name)(fold(flat, 3), torch.empty(2, 3, B // 3, 0))
        torch.testing.assert_close(one, other)


@pytest.mark.slow
def test_a_compiled_step_equals_an_eager_one():
    """Three steps of everything give the same parameters and statistics, compiled or not."""
    found = []
    for compile in ("off", "on"):
        algorithm = crossq(policy_delay=1, compile=compile)
        for seed in range(3):
            algorithm.learn(Fixed(sample(seed=seed)), 0.0)
        assert algorithm.learner.choice == {"off": "eager", "on": "compiled"}[compile]
        found.append(algorithm.model.state_dict())
    # Adam turns the sign of a gradient that is 0 but for rounding into a step of lr, 1e-3.
    torch.testing.assert_close(found[1], found[0], rtol=1e-3, atol=3e-3)


def test_joining_sequences_keeps_carries_beside_them():
    """Groups (L, B, …) are joined along B, and so are carries (B, width), which have no L."""
    now = {"obs": torch.zeros(5, 2, 3), "carry/critic": torch.zeros(2, 7)}
    then = {"obs": torch.ones(5, 2, 3), "carry/critic": torch.ones(2, 7), "mask": torch.ones(5, 2)}
    both = joined(now, then, 1)
    assert {name: x.shape for name, x in both.items()} == {"obs": (5, 4, 3), "carry/critic": (4, 7)}
    assert both["obs"][:, 2:].eq(1).all()
    assert both["carry/critic"][2:].eq(1).all()
