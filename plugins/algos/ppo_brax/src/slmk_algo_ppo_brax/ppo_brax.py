"""PPO as in Brax (Freeman et al. 2021, arXiv:2106.13281; `brax.training.agents.ppo` of version 0.14)."""

from __future__ import annotations

import math
from typing import Any, Final

import torch
from torch import Tensor

from slmk import Act, Adam, EnvInfo, Learner, Metrics, Obs, Parts, Role, Transition
from slmk.protocols import Memory
from slmk.toolbox.actors import Actor
from slmk.toolbox.distributions import Distribution, TanhNormal
from slmk.toolbox.heads import MIN_STD, head_outputs
from slmk.toolbox.minibatches import minibatches
from slmk.toolbox.returns import bootstrapped, discounted
from slmk.toolbox.scaling import standardised
from slmk.toolbox.schedules import at
from slmk.toolbox.surrogates import clipped_surrogate
from slmk.windows import Windows
from slmk_algo_ppo_brax import PPOBraxConfig

__all__ = ["PPOBrax", "targets"]

GAUSSIAN: Final = "tanh"
"""Continuous actions: tanh-normal, its standard deviation softplus(x) + 0.001 from the network."""
LOG_STD: Final = math.log(math.log(2) + MIN_STD)
"""Of the standard deviation where the network gives 0: softplus(0) + 0.001, as there."""
Segments = dict[str, Any]
"""What the loss needs of segments (L, S, …), by name, and ``next_obs`` after the last step of each, (S, …)."""


class PPOBrax:
    """Clipped surrogate on segments of L steps, whose advantages follow the critic as it learns.

    In every minibatch the present critic values the segments anew, and returns and advantages are computed from that.
    Steps at which an episode was cut count neither for the policy nor for the critic.
    """

    @staticmethod
    def roles(config: PPOBraxConfig, env: EnvInfo) -> dict[str, Role]:
        """An actor and a critic with one output, both with the initial weights of their networks."""
        return {"actor": Role(head_outputs(env.action_space, GAUSSIAN)), "critic": Role(1)}

    def __init__(self, config: PPOBraxConfig, env: EnvInfo, parts: Parts) -> None:
        self.config = config
        self.horizon = config.horizon
        self.generator = parts.generator
        self.model = parts.model
        self.actor = Actor(parts.model, env, gaussian=GAUSSIAN, log_std_init=LOG_STD)
        self.windows = Windows(config.unroll_length)
        self.learner = Learner(
            {"actor": self.actor},
            self.loss,
            optimiser=Adam(max_grad_norm=config.max_grad_norm),
            compile=parts.compile,
            steps_ahead=parts.iterations * config.epochs * config.minibatches,
        )

    def act(self, obs: Obs, progress: float) -> Act:
        """Sample from the policy; the sample before clipping or squashing travels along as ``raw``."""
        return self.actor.act(obs, self.generator)

    def policy(self, obs: Obs) -> Tensor:
        """The mode of the policy."""
        return self.actor.mode(obs)

    def learn(self, memory: Memory, progress: float) -> Metrics:
        """Several epochs of minibatch updates; observation statistics move once, before them."""
        config = self.config
        rollout = memory.take()
        data, size = self.prepare(rollout), self.windows.count(rollout.reward.numel())
        self.model.observe(rollout.obs)
        lr, clip, entropy = (at(value, progress) for value in (config.lr, config.clip, config.entropy))
        for _ in range(config.epochs):
            for index in minibatches(size, config.minibatches, self.generator):
                noise = torch.empty_like(data["raw"][:, index], dtype=torch.float32).normal_(generator=self.generator)
                self.learner.step(data, index, noise, lr=lr, clip=clip, entropy=entropy)
        return self.learner.metrics()

    @torch.no_grad()
    def prepare(self, rollout: Transition) -> Segments:
        """A (T, N) rollout as segments, with the log-probabilities of the policy that acted."""
        raw = rollout.extras["raw"]
        data = self.windows.cut(
            {
                "obs": rollout.obs,
                "raw": raw,
                "log_prob": self.actor(rollout.obs).log_prob(raw),
                "reward": rollout.reward * self.config.reward_scale,
                "terminated": rollout.terminated,
                "truncated": rollout.truncated,
            }
        )
        last = slice(self.config.unroll_length - 1, None, self.config.unroll_length)
        return data | {"next_obs": {name: x[last].flatten(0, 1) for name, x in rollout.next_obs.items()}}

    def loss(
        self, data: Segments, index: Tensor, noise: Tensor, *, clip: Tensor, entropy: Tensor
    ) -> tuple[Tensor, Metrics]:
        """Clipped surrogate, value loss and entropy bonus of the segments `index` (B,); `compute_ppo_loss`.

        Args:
            data: all segments.
            index: which of them.
            noise: standard normal, like ``raw`` of the minibatch, for a sample at which the entropy is estimated.
            clip: ε.
            entropy: weight of the bonus.
        """
        following = {name: x[index] for name, x in data["next_obs"].items()}
        batch = self.windows.pick({name: x for name, x in data.items() if name != "next_obs"}, index)
        value, next_value = self.value(batch["obs"]), self.value(following)
        returns, advantage = targets(
            batch["reward"],
            value.detach(),
            next_value.detach(),
            batch["terminated"],
            batch["truncated"],
            self.config.gamma,
            self.config.lam,
        )
        if self.config.normalize_advantage:
            advantage = standardised(advantage, correction=0)
        policy = self.actor(batch["obs"])
        ratio = (policy.log_prob(batch["raw"]) - batch["log_prob"]).exp()
        policy_loss = -clipped_surrogate(ratio, advantage, clip).mean()
        value_loss = 0.5 * (returns - value).square().mean()
        bonus = entropy_at(policy, noise).mean()
        loss = policy_loss + self.config.value_coefficient * value_loss - entropy * bonus
        return loss, {
            "loss/policy": policy_loss,
            "loss/value": value_loss,
            "policy/entropy": bonus,
            "policy/clipped": ((ratio.detach() - 1).abs() > clip).float().mean(),
        }

    def value(self, obs: Obs) -> Tensor:
        """V(obs) in units of scaled reward; (*batch,)."""
        return self.model("critic", obs).squeeze(-1)


def targets(
    reward: Tensor,
    value: Tensor,
    next_value: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    lam: float,
) -> tuple[Tensor, Tensor]:
    """λ-returns for the critic, and advantages that bootstrap from them rather than from values; `compute_gae`.

    With m for 1 − truncated and n for 1 − terminated: δ = m (r + γ n V′ − V), v = V + Σ (γλ n m)ᵏ δ, and the advantage
    is m (r + γ n v′ − V), one λ fewer than in `slmk.toolbox.advantages.gae`. A cut step has v = V and advantage 0.

    Args:
        reward: (L, B).
        value: V of the observations acted on, (L, B).
        next_value: V after the last step, (B,). Where an episode ends before that, what follows is masked.
        terminated: (L, B) bool.
        truncated: (L, B) bool.
        gamma: γ, discount per step.
        lam: λ.

    Returns:
        v and the advantages, each (L, B).
    """
    goes_on, kept = gamma * (~terminated).to(reward.dtype), (~truncated).to(reward.dtype)
    following = torch.cat([value[1:], next_value.unsqueeze(0)])
    delta = (bootstrapped(reward, gamma, terminated, following) - value) * kept
    returns = value + discounted(delta, lam * goes_on * kept)
    following = torch.cat([returns[1:], next_value.unsqueeze(0)])
    return returns, (bootstrapped(reward, gamma, terminated, following) - value) * kept


def entropy_at(policy: Distribution, noise: Tensor) -> Tensor:
    """The entropy (*batch,): of squashed actions at a sample made of `noise`, exact for others."""
    if isinstance(policy, TanhNormal):
        return policy.entropy(policy.at(noise))
    return policy.entropy()
