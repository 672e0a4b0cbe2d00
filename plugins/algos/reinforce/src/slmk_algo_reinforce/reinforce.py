"""REINFORCE (Williams 1992, Machine Learning 8, doi:10.1007/BF00992696), on whole episodes with returns to go."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

import torch
from torch import Tensor

from slmk import Act, Adam, EnvInfo, Learner, Metrics, Obs, Parts, Problem, Role, SpecError, Transition
from slmk.protocols import Memory
from slmk.toolbox.actors import Actor, actor_role
from slmk.toolbox.rewards import finished_returns
from slmk.toolbox.scaling import weighted_mean
from slmk.toolbox.schedules import at
from slmk_algo_reinforce import ReinforceConfig

__all__ = ["Reinforce"]

Steps = dict[str, Any]
"""What is known of each step, by name; ``obs`` is a dict of groups."""


class Reinforce:
    """One policy-gradient step on the steps of all episodes that ended since the last one.

    The return of a step is known once its episode has ended. So the last rollouts are kept, as many as an episode may
    take, and a step enters the first update after its episode's end with weight 1, and every other with weight 0. Each
    step of each episode counts once, long episodes no less than short ones, and all shapes are static.
    """

    @staticmethod
    def roles(config: ReinforceConfig, env: EnvInfo) -> dict[str, Role]:
        """An actor that starts near uniform."""
        return {"actor": actor_role(env, config.gaussian)}

    def __init__(self, config: ReinforceConfig, env: EnvInfo, parts: Parts) -> None:
        self.config = config
        self.horizon = config.horizon
        self.generator = parts.generator
        self.model = parts.model
        self.actor = Actor(parts.model, env, gaussian=config.gaussian, log_std_init=config.log_std_init)
        self.learner = Learner(
            {"actor": self.actor},
            self.loss,
            optimiser=Adam(max_grad_norm=config.max_grad_norm),
            compile=parts.compile,
            steps_ahead=parts.iterations,
        )
        self.waiting: deque[Steps] = deque(maxlen=ceil(episode_limit(config, env) / config.horizon))
        """The last rollouts (T, N, …), oldest first, without the newest."""

    def act(self, obs: Obs, progress: float) -> Act:
        """Sample from the policy; the sample before clipping or squashing travels along as ``raw``."""
        return self.actor.act(obs, self.generator)

    def policy(self, obs: Obs) -> Tensor:
        """The mode of the policy."""
        return self.actor.mode(obs)

    def learn(self, memory: Memory, progress: float) -> Metrics:
        """One update on the episodes that ended in this rollout."""
        rollout = memory.take()
        data = self.prepare(rollout)
        self.learner.step(data, lr=at(self.config.lr, progress), entropy=at(self.config.entropy, progress))
        self.model.observe(rollout.obs)
        return self.learner.metrics() | {"steps/finished": data["weight"].sum() / rollout.reward.numel()}

    def abandon(self) -> None:
        """The running episodes do not go on: their steps have no return, and never count."""
        if self.waiting:
            self.waiting[-1]["done"][-1] = True

    @torch.no_grad()
    def prepare(self, rollout: Transition) -> Steps:
        """The kept steps and the new ones with their return, and with weight 1 where it has just become known."""
        steps = self.with_waiting(rollout)
        returns, finished = finished_returns(steps["reward"], steps["done"], self.config.gamma, newest=self.horizon)
        weight = finished.float()
        if self.config.normalize_return:
            returns = weighted_standardised(returns, weight)
        data = {"obs": steps["obs"], "raw": steps["raw"], "returns": returns, "weight": weight}
        return self.model.windows.cut(data)

    def loss(self, data: Steps, *, entropy: Tensor) -> tuple[Tensor, Metrics]:
        """−(G − b) log π, whose gradient is that of section 6 with returns to go, and the entropy bonus."""
        obs, weight = data["obs"], data["weight"]
        policy = self.actor(obs)
        policy_loss = -weighted_mean(policy.log_prob(data["raw"]) * data["returns"], weight)
        bonus = weighted_mean(policy.entropy(), weight)
        return policy_loss - entropy * bonus, {"loss/policy": policy_loss, "policy/entropy": bonus}

    def with_waiting(self, rollout: Transition) -> Steps:
        """The kept rollouts and the new one along one time axis (R, N, …); the oldest makes room for the new one."""
        while len(self.waiting) < (self.waiting.maxlen or 0):
            past = rollout.map(torch.zeros_like)
            past.terminated.fill_(True)  # Before the run began: nothing that could still end.
            self.waiting.append(steps_of(past))
        new = steps_of(rollout)
        steps = joined([*self.waiting, new])
        self.waiting.append(new)
        return steps


def episode_limit(config: ReinforceConfig, env: EnvInfo) -> int:
    """Steps of the longest episode.

    Raises:
        SpecError: neither the spec nor the environment states it.
    """
    limit = config.episode_limit or env.max_episode_steps
    if limit is None:
        message = "the environment states no time limit; say how long steps are to wait for their return"
        raise SpecError([Problem(message, "algorithm.episode_limit", expected="a number of steps", found="0")])
    return limit


def steps_of(rollout: Transition) -> Steps:
    """What learning needs of a rollout, (T, N, …) each."""
    done = rollout.terminated | rollout.truncated
    return {"obs": rollout.obs, "raw": rollout.extras["raw"], "reward": rollout.reward, "done": done}


def weighted_standardised(returns: Tensor, weight: Tensor) -> Tensor:
    """Returns minus their mean, divided by their standard deviation, both over what has weight."""
    centred = returns - weighted_mean(returns, weight)
    return centred / (weighted_mean(centred.square(), weight).sqrt() + 1e-8)


def joined(rollouts: Sequence[Mapping[str, Any]]) -> Steps:
    """Trees of (T, N, …) as one tree of (R, N, …), one after the other in time."""
    return {
        name: joined([each[name] for each in rollouts])
        if isinstance(first, Mapping)
        else torch.cat([each[name] for each in rollouts])
        for name, first in rollouts[0].items()
    }
