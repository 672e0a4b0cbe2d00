"""Scores a policy on environments of its own, without touching training's random streams or statistics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from slmk.assembly import build_env
from slmk.batch import Obs, Step
from slmk.protocols import Env
from slmk.recurrence import Recurrence
from slmk.registry import Registry
from slmk.spec import Blueprint
from slmk.streams import Streams

__all__ = ["MAX_EPISODE_STEPS", "Episodes", "Evaluator", "play", "shares"]

MAX_ENVS = 16
"""Evaluation environments at most; more episodes are played one after another."""
MAX_EPISODE_STEPS = 100_000
"""An episode that nothing ends is cut here."""


@dataclass(frozen=True, slots=True)
class Episodes:
    """Undiscounted returns and lengths of whole episodes."""

    returns: tuple[float, ...]
    lengths: tuple[int, ...]

    def as_row(self) -> dict[str, float]:
        """The metrics of an evaluation row."""
        return {
            "eval/return_mean": float(np.mean(self.returns)),
            "eval/return_std": float(np.std(self.returns)),
            "eval/length_mean": float(np.mean(self.lengths)),
            "eval/episodes": len(self.returns),
        }


def shares(episodes: int, num_envs: int) -> npt.NDArray[np.int64]:
    """How many of `episodes` each environment plays: (num_envs,), as equal as can be, the first ones before others."""
    return np.array([episodes // num_envs + (index < episodes % num_envs) for index in range(num_envs)])


@torch.no_grad()
def play(
    env: Env,
    policy: Callable[[Obs], Tensor],
    recurrence: Recurrence,
    episodes: int,
    *,
    seed: int,
    each_step: Callable[[Obs, Tensor, Step], None] | None = None,
) -> Episodes:
    """Play `episodes` whole episodes, an equal share in each environment.

    The share is fixed beforehand: taking the first that end would favour short episodes. An episode in which the policy
    gives an action that is not finite has the return NaN, whatever a simulator makes of that: some take it for 0.
    One that is still going on after `MAX_EPISODE_STEPS` counts as it is then, and is the last of its environment, in
    which no other begins: there are fewer episodes then.

    Args:
        env: the environments; they are reset.
        policy: actions for a batch of observations.
        recurrence: what the policy's networks remember.
        episodes: how many; environment i plays ``shares(episodes, N)[i]`` of them, and further ones are ignored.
        seed: of the reset.
        each_step: called after every vector step, with the observation, the action and what came of it.
    """
    num_envs = env.info.num_envs
    quota = shares(episodes, num_envs)
    counted: list[list[tuple[float, int]]] = [[] for _ in range(num_envs)]
    returns, lengths = np.zeros(num_envs), np.zeros(num_envs, dtype=int)
    obs = recurrence.start(env.reset(seed))
    while any(len(done) < share for done, share in zip(counted, quota, strict=True)):
        action = policy(obs)
        step = recurrence.follow(obs, env.step(action))
        if each_step is not None:
            each_step(obs, action, step)
        obs = step.obs
        reward = step.reward
        if action.is_floating_point():
            reward = reward + (action - action).reshape(num_envs, -1).sum(1)  # Which is 0, or else NaN.
        returns += reward.cpu().numpy()
        lengths += 1
        ended = (step.terminated | step.truncated).cpu().numpy()
        goes_on = ~ended & (lengths >= MAX_EPISODE_STEPS)
        for index in np.flatnonzero(ended | goes_on):
            if len(counted[index]) < quota[index]:
                counted[index].append((float(returns[index]), int(lengths[index])))
            if goes_on[index]:
                quota[index] = len(counted[index])
        returns[ended], lengths[ended] = 0.0, 0
    played = [episode for done in counted for episode in done]
    return Episodes(tuple(r for r, _ in played), tuple(n for _, n in played))


class Evaluator:
    """Evaluates during training, on environments built at the first evaluation and kept."""

    def __init__(
        self, blueprint: Blueprint, streams: Streams, recurrence: Recurrence, registry: Registry | None = None
    ) -> None:
        self._blueprint = blueprint
        self._streams = streams
        self._recurrence = recurrence
        self._registry = registry
        self._env: Env | None = None

    def __call__(self, policy: Callable[[Obs], Tensor], env_steps: int) -> Episodes:
        """Play the spec's number of episodes; their seed depends on the run's seed and `env_steps` alone."""
        if self._env is None:
            num_envs = min(self._blueprint.run.eval_episodes, MAX_ENVS)
            seed = self._streams.integer("eval")
            self._env = build_env(self._blueprint, num_envs=num_envs, seed=seed, registry=self._registry)
        seed = self._streams.integer("eval", env_steps)
        return play(self._env, policy, self._recurrence, self._blueprint.run.eval_episodes, seed=seed)

    def close(self) -> None:
        """Free the evaluation environments."""
        if self._env is not None:
            self._env.close()
