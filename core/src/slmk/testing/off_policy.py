"""What known-answer tests of off-policy algorithms are made of: samples, a memory of one, and references in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from slmk.batch import Obs, Sample
from slmk.config import AlgorithmConfig, Compile
from slmk.env_info import EnvInfo
from slmk.model import Model
from slmk.protocols import Parts, Role
from slmk.toolbox.soft import soft_actions

__all__ = [
    "BOX",
    "DISCRETE",
    "WIDTH",
    "Fixed",
    "SoftPolicy",
    "SoftReference",
    "assemble",
    "check_gradients",
    "check_warm_up",
    "fold",
    "in_float64",
    "least",
    "random_sample",
    "scatter",
]

WIDTH = 4
"""Numbers in an observation, the group ``obs``."""
DISCRETE = spaces.Discrete(3, start=2)
"""Discrete actions that are counted from 2, so that none is its own index."""
BOX = spaces.Box(np.array([-2.0, 0.0], np.float32), np.array([1.0, 10.0], np.float32))
"""Continuous actions in two dimensions, neither of which is [−1, 1]."""
MakeNetwork = Callable[[str, Mapping[str, spaces.Space[Any]], Role, torch.Generator], nn.Module]
"""Makes a network from the name of a role, the spaces of the groups that it reads, the role and a random stream."""
distributions: Any = torch.distributions
"""`torch.distributions` as Any, since torch gives no types for it."""


def assemble(
    algorithm: type[Any],
    config: AlgorithmConfig,
    action_space: spaces.Space[Any],
    network: MakeNetwork,
    *,
    num_envs: int = 1,
    env_steps: int = 0,
    normalizers: Mapping[str, Any] | None = None,
    compile: Compile = "off",
) -> Any:
    """The algorithm with a network for each of its roles, the same ones each time."""
    observed = {"obs": spaces.Box(-1, 1, (WIDTH,))}
    info = EnvInfo(num_envs, observed, action_space, torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    roles = algorithm.roles(config, info)
    model = Model(
        {name: network(name, observed | dict(role.extra), role, generator) for name, role in roles.items()},
        dict.fromkeys(roles, tuple(observed)),
        dict(normalizers or {}),
        {name: tuple(role.extra) for name, role in roles.items()},
    )
    return algorithm(config, info, Parts(model, {}, generator, compile, env_steps, 0))


@torch.no_grad()
def scatter(*modules: nn.Module, by: float = 0.5, seed: int = 5) -> None:
    """Change all parameters at random, so that target networks are apart from what they follow."""
    generator = torch.Generator().manual_seed(seed)
    for module in modules:
        for parameter in module.parameters():
            parameter.add_(by * torch.randn(parameter.shape, generator=generator))


def random_sample(
    action_space: spaces.Space[Any], size: int = 12, *, mask: bool = False, spread: float = 1.0, seed: int = 1
) -> Sample:
    """Random transitions (B,) with every kind of end and discounts as of 1 to 3 steps; the last two weigh nothing.

    Args:
        action_space: a Box, or Discrete.
        size: B.
        mask: whether there is a group ``mask``, which always allows the second action and the one that was taken.
        spread: deviation of what follows, where observations have 1.
        seed: of everything.
    """
    generator = torch.Generator().manual_seed(seed)
    obs, next_obs = ({"obs": scale * torch.randn(size, WIDTH, generator=generator)} for scale in (1.0, spread))
    if mask:
        assert isinstance(action_space, spaces.Discrete)
        for groups in (obs, next_obs):
            groups["mask"] = torch.rand(size, int(action_space.n), generator=generator) < 0.5
            groups["mask"][:, 1] = True
    weight = torch.rand(size, generator=generator) + 0.5
    weight[-2:] = 0
    flags = torch.rand(size, generator=generator)
    return Sample(
        obs=obs,
        action=soft_actions(action_space).uniform(obs, generator),
        reward=2 * torch.randn(size, generator=generator),
        next_obs=next_obs,
        terminated=flags < 0.3,
        truncated=flags > 0.7,
        discount=0.9 ** torch.randint(1, 4, (size,), generator=generator),
        weight=weight,
        index=torch.arange(size),
    )


def fold(tree: Any, length: int) -> Any:
    """The tensors (L · B, …) of a tree of mappings as sequences (L, B, …)."""
    if isinstance(tree, Mapping):
        return {name: fold(value, length) for name, value in tree.items()}
    return tree.unflatten(0, (length, len(tree) // length))


class Fixed:
    """A memory that gives the same sample whenever it is asked, and remembers what it was asked and told."""

    def __init__(self, sample: Sample) -> None:
        """Keep the sample."""
        self.asked: list[dict[str, Any]] = []
        """The arguments of each `sample`."""
        self.told: list[Tensor] = []
        """The errors of each `feedback`."""
        self._sample = sample

    def __len__(self) -> int:
        """More than any batch."""
        return 1000

    def sample(self, batch_size: int, **options: Any) -> Sample:
        """The sample, of whatever size."""
        self.asked.append({"batch_size": batch_size, **options})
        return self._sample

    def feedback(self, batch: Sample, error: Tensor) -> None:
        """Remember the errors.

        Raises:
            AssertionError: they are of another sample.
        """
        assert batch is self._sample
        self.told.append(error)


def in_float64(network: nn.Module) -> dict[str, Tensor]:
    """Copies of a network's parameters, which take gradients, by name."""
    return {name: x.detach().double().requires_grad_() for name, x in network.named_parameters()}


def check_gradients(
    loss: Tensor, expected: Tensor, network: nn.Module, copies: Mapping[str, Tensor], *, rtol: float = 1e-3
) -> None:
    """Compare a loss with the one expected of `in_float64` copies, and the gradients of all that a network trains.

    Raises:
        AssertionError: they differ.
    """
    torch.testing.assert_close(loss.double(), expected.double(), rtol=rtol / 10, atol=1e-6)
    mine = dict(network.named_parameters())
    found = torch.autograd.grad(loss, list(mine.values()))
    right = torch.autograd.grad(expected, [copies[name] for name in mine])
    given = {name: x.double() for name, x in zip(mine, found, strict=True)}
    torch.testing.assert_close(given, dict(zip(mine, right, strict=True)), rtol=rtol, atol=rtol / 100)


@torch.no_grad()
def check_warm_up(algorithm: Any) -> None:
    """A soft actor-critic that warms up for half of its run acts at random on `BOX` until then, and learns nothing.

    Args:
        algorithm: what `assemble` made of 1000 environments, with ``actor`` networks that end in ``weight_out`` and
            ``bias_out``.

    Raises:
        AssertionError: it does otherwise, or does not begin after the warm-up.
    """
    actor = algorithm.model.networks["actor"]
    actor.weight_out.zero_()
    actor.bias_out.copy_(torch.tensor([0, 0, -20, -20]))  # A deviation of e^−20: always the middle of the range.
    obs, memory = {"obs": torch.zeros(1000, WIDTH)}, Fixed(random_sample(BOX))
    drawn = algorithm.act(obs, 0.49).action
    low, high = torch.as_tensor(BOX.low), torch.as_tensor(BOX.high)
    torch.testing.assert_close(drawn.amin(0), low, rtol=0.0, atol=0.1)
    torch.testing.assert_close(drawn.amax(0), high, rtol=0.0, atol=0.1)
    assert algorithm.learn(memory, 0.49) == {}, "learns while it warms up"
    chosen = algorithm.act(obs, 0.5).action
    torch.testing.assert_close(chosen, ((low + high) / 2).expand(1000, 2))
    torch.testing.assert_close(algorithm.policy(obs), chosen)
    assert algorithm.learn(memory, 0.5), "does not learn after the warm-up"


class SoftPolicy:
    """K actions at each observation: all of n discrete ones, or a single draw of a squashed normal distribution."""

    def __init__(self, features: Tensor, action_space: spaces.Space[Any], noise: Tensor, mask: Tensor | None) -> None:
        """
        Args:
            features: an actor's outputs in float64, (B, n), or (B, 2 A) with means and logarithms of deviations.
            action_space: Discrete, or a Box.
            noise: standard normal, (B, A).
            mask: the allowed actions (B, n), if not all.
        """
        self.action: Tensor | None = None
        """A continuous action (B, A), in (−1, 1); None where actions are discrete."""
        if isinstance(action_space, spaces.Discrete):
            logits = features if mask is None else features.masked_fill(~mask, -1e9)
            self.probability, self.log_prob = logits.softmax(-1), logits.log_softmax(-1)
            return
        mean, log_std = features.chunk(2, -1)
        base = distributions.Normal(mean, log_std.clamp(-20, 2).exp())
        squash = distributions.TanhTransform(cache_size=1)
        self.action = squash(base.mean + base.stddev * noise)
        self.log_prob = distributions.TransformedDistribution(base, squash).log_prob(self.action).sum(-1, keepdim=True)
        self.probability = torch.ones_like(self.log_prob)

    @property
    def entropy(self) -> Tensor:
        """E[−log π], (B,)."""
        return -torch.where(self.probability > 0, self.probability * self.log_prob, 0.0).sum(-1)

    def expectation(self, q: Tensor) -> Tensor:
        """E Q, (B,), of values (B, K)."""
        return (self.probability * q).sum(-1)


class SoftReference:
    """Losses of a soft actor-critic in float64, from what a subclass says of its networks: actor and critics."""

    def __init__(self, algorithm: Any, action_space: spaces.Space[Any], batch: Sample, noise: Tensor) -> None:
        """Copy the parameters as they are now; `noise` (2, B, A) is for the batch and for what follows it."""
        self.action_space, self.batch, self.noise = action_space, batch, noise.double()
        self.actor, self.critic = (in_float64(algorithm.model.networks[role]) for role in ("actor", "critic"))
        """Copies that take gradients."""
        self.target = in_float64(algorithm.target.networks["critic"]) if hasattr(algorithm, "target") else self.critic
        """A copy of the critics that are bootstrapped from: the target networks, or else the critics themselves."""
        self.alpha = algorithm.actor.temperature().item()

    def policy(self, features: Tensor, obs: Obs, noise: Tensor) -> SoftPolicy:
        """The policy that an actor's `features` give."""
        return SoftPolicy(features, self.action_space, noise, obs.get("mask"))

    def told(self, obs: Obs, action: Tensor | None) -> Tensor:
        """What critics read: observations, and continuous actions in [−1, 1]."""
        x = obs["obs"].double()
        return x if action is None else torch.cat([x, action], -1)

    def taken(self) -> Tensor:
        """What critics read of the batch."""
        if isinstance(self.action_space, spaces.Discrete):
            return self.told(self.batch.obs, None)
        assert isinstance(self.action_space, spaces.Box)
        low, high = (torch.as_tensor(bound).double() for bound in (self.action_space.low, self.action_space.high))
        return self.told(self.batch.obs, 2 * (self.batch.action.double() - low) / (high - low) - 1)

    def regression(self, values: Iterable[Tensor], next_value: Tensor) -> tuple[Tensor, Tensor]:
        """The critics' loss: half the squared errors of `values` (B, K) of each; and the mean absolute errors (B,)."""
        b = self.batch
        target = (b.reward.double() + b.discount.double() * (~b.terminated).double() * next_value).detach()
        errors = [self._of_actions(q) - target for q in values]
        loss = torch.stack([self._mean(0.5 * error**2) for error in errors]).sum()
        return loss, torch.stack(errors).abs().mean(0)

    def ascent(self, policy: SoftPolicy, q: Tensor) -> tuple[Tensor, Tensor]:
        """The actor's loss by values (B, K) of its actions, and the mean entropy."""
        value = policy.expectation(q) + self.alpha * policy.entropy
        weight = self.batch.weight.double()
        return -self._mean(value), (weight * policy.entropy).sum() / weight.sum()

    def _of_actions(self, q: Tensor) -> Tensor:
        if isinstance(self.action_space, spaces.Discrete):
            return q[range(len(q)), self.batch.action - int(self.action_space.start)]
        return q.squeeze(-1)

    def _mean(self, x: Tensor) -> Tensor:
        """The weighted mean over transitions that weigh anything."""
        weighs = self.batch.weight > 0
        return (self.batch.weight * x)[weighs].sum() / weighs.sum()


def least(values: Sequence[Tensor]) -> Tensor:
    """The smallest of several tensors at each place."""
    return torch.stack(list(values)).min(0).values
