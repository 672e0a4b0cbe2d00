"""Whole episodes in a row: the form between a dataset and a replay."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from slmk import EnvInfo, Obs
from slmk_memory_replay import Replay, ReplayConfig

__all__ = ["Episodes"]


@dataclass(frozen=True, slots=True)
class Episodes:
    """T transitions of E episodes, one after another."""

    obs: Obs
    """What was acted on, groups (T, *shape)."""
    final_obs: Obs
    """The last observation of each episode, groups (E, *shape)."""
    action: Tensor
    """(T, *action shape)."""
    reward: Tensor
    """(T,) float32."""
    terminated: Tensor
    """(T,) bool."""
    truncated: Tensor
    """(T,) bool."""
    ends: Tensor
    """(T,) bool: the last transition of each episode, also where a recording stopped in the middle of one."""

    @classmethod
    def joined(cls, episodes: Sequence[Episodes]) -> Episodes:
        """One after another; there must be one."""
        parts = [dict(each.tensors()) for each in episodes]
        tensors = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        first = episodes[0]
        return cls(
            obs={name: tensors[f"obs/{name}"] for name in first.obs},
            final_obs={name: tensors[f"final_obs/{name}"] for name in first.final_obs},
            **{name: tensors[name] for name in _COLUMNS},
        )

    def __len__(self) -> int:
        """T."""
        return len(self.reward)

    @property
    def identity(self) -> dict[str, Any]:
        """What tells these episodes from others, as JSON values: how many transitions, and a hash of all tensors."""
        digest = hashlib.sha256()
        for name, x in self.tensors():
            digest.update(f"{name} {x.dtype} {tuple(x.shape)}".encode())
            digest.update(x.contiguous().numpy().tobytes())
        return {"transitions": len(self), "sha256": digest.hexdigest()}

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Every tensor with a name."""
        yield from ((f"obs/{name}", x) for name, x in sorted(self.obs.items()))
        yield from ((f"final_obs/{name}", x) for name, x in sorted(self.final_obs.items()))
        yield from ((name, getattr(self, name)) for name in _COLUMNS)

    def as_replay(self, config: ReplayConfig, env: EnvInfo, generator: torch.Generator) -> Replay:
        """A replay that holds them all, in the kind of storage that the options name."""
        columns = {name: getattr(self, name) for name in _COLUMNS}
        return Replay.of_episodes(config, env, generator, obs=self.obs, final_obs=self.final_obs, **columns)


_COLUMNS = ("action", "reward", "terminated", "truncated", "ends")
