"""Symmetric sampling (Ball et al. 2023, arXiv:2302.02948, section 4.1): demonstrations in every batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from slmk import Act, CheckpointError, EnvInfo, Obs, Sample, Step
from slmk.batch import CARRY, FIRST
from slmk_memory_mixed import MixedConfig
from slmk_memory_mixed.dataset import read
from slmk_memory_replay import Replay

__all__ = ["Mixed"]


class Mixed:
    """A replay of the run's own experience, and one of demonstrations that never changes; batches come from both."""

    def __init__(self, config: MixedConfig, env: EnvInfo, horizon: int, generator: torch.Generator) -> None:
        """See `slmk.hookspecs.slmk_memories`. Reads the demonstrations.

        Raises:
            ValueError: the capacity is less than one step of every environment.
            SpecError: there are no demonstrations that fit the environment, or no stack of the given number of frames.
        """
        self._share = config.share
        self._generator = generator
        self._online = Replay(config, env, horizon, generator)
        episodes = read(config.demonstrations, env)
        self._identity = episodes.identity
        self._demonstrations = episodes.as_replay(config, env, generator)

    def __len__(self) -> int:
        """Transitions of the run's own that can be sampled from: algorithms wait for these before they learn."""
        return len(self._online)

    def add(self, obs: Obs, act: Act, step: Step) -> None:
        """Store one vector step of the run's own.

        Raises:
            ValueError: a stack of frames does not continue the one before it.
            RunError: there is no room in memory, or on the disk.
        """
        self._online.add(obs, act, step)

    def sample(self, batch_size: int, *, gamma: float = 1.0, n_step: int = 1, progress: float = 0.0) -> Sample:
        """Draw round(share · B) samples from demonstrations, behind the others, all with replacement.

        See `slmk.protocols.Memory`.

        Raises:
            ValueError: see `slmk_memory_replay.Replay.check`, also where all is to come from demonstrations.
        """
        self._online.check(batch_size, n_step)
        count = round(self._share * batch_size)
        online = self._online.sample(batch_size - count, gamma=gamma, n_step=n_step)
        if count == 0:
            return online
        total, device = len(self._demonstrations), self._generator.device
        row = torch.randint(total, (count,), generator=self._generator, device=device)
        return _joined(online, self._demonstrations.gather(row, gamma=gamma, n_step=n_step))

    def feedback(self, batch: Sample, error: Tensor) -> None:
        """Nothing: every transition stays as likely as another of its kind."""

    def state_dict(self) -> dict[str, Any]:
        """The replay with the random stream, and which demonstrations these are; they lie in their dataset already."""
        return {"online": self._online.state_dict(), "demonstrations": self._identity}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            CheckpointError: the run had other demonstrations, or a replay of another capacity, environments or stacks.
        """
        if state["demonstrations"] != self._identity:
            before, now = (_told(each) for each in (state["demonstrations"], self._identity))
            raise CheckpointError(f"the checkpoint was made with {before}, but memory.demonstrations has {now}")
        self._online.load_state_dict(state["online"])


def _joined(online: Sample, demonstrations: Sample) -> Sample:
    """One sample of both, in this order along the axis of samples.

    Extras are left out, since demonstrations have none. Indices of demonstrations count down from −1.
    """
    axis = online.reward.dim() - 1

    def join(a: Tensor, b: Tensor) -> Tensor:
        return torch.cat([a, b.to(a)], axis)

    return Sample(
        obs=_joined_obs(online.obs, demonstrations.obs, axis),
        action=join(online.action, demonstrations.action),
        reward=join(online.reward, demonstrations.reward),
        next_obs=_joined_obs(online.next_obs, demonstrations.next_obs, axis),
        terminated=join(online.terminated, demonstrations.terminated),
        truncated=join(online.truncated, demonstrations.truncated),
        discount=join(online.discount, demonstrations.discount),
        weight=join(online.weight, demonstrations.weight),
        index=torch.cat([online.index, -1 - demonstrations.index]),
    )


def _joined_obs(online: Obs, demonstrations: Obs, axis: int) -> Obs:
    """The groups of the run's own observations, in both.

    What a recurrent network would remember before a demonstration is not known. It is 0, as at the beginning of an
    episode (the zero start state of Kapturowski et al. 2019, section 3).
    """
    count = next(iter(demonstrations.values())).shape[axis]

    def join(name: str, x: Tensor) -> Tensor:
        if name.startswith(CARRY):
            return torch.cat([x, x.new_zeros(count, *x.shape[1:])])
        if name == FIRST:
            return torch.cat([x, _beginning(x, count)], axis)
        return torch.cat([x, demonstrations[name].to(x)], axis)

    return {name: join(name, x) for name, x in online.items()}


def _beginning(first: Tensor, count: int) -> Tensor:
    """The group `slmk.batch.FIRST`, (count,) or (L, count), of samples that begin an episode."""
    beginning = first.new_zeros(*first.shape[:-1], count)
    (beginning[0] if first.dim() > 1 else beginning).fill_(True)
    return beginning


def _told(identity: Mapping[str, Any]) -> str:
    return f"{identity['transitions']} demonstrations (sha256 {identity['sha256'][:12]})"
