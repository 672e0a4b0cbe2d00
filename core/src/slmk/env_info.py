"""What the rest of a run may know about its environment: a frozen value, also stored beside every policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from slmk.errors import CheckpointError

__all__ = ["EnvInfo", "same_range", "space_from_json", "space_to_json", "tensor_dtype"]


@dataclass(frozen=True, slots=True)
class EnvInfo:
    """Sizes, spaces and device of a batch of N environments."""

    num_envs: int
    """N, the number of environments stepped together."""
    observation_spaces: Mapping[str, spaces.Space[Any]]
    """The space of each observation group, of one environment."""
    action_space: spaces.Space[Any]
    """The action space of one environment."""
    device: torch.device
    """The device of every tensor that the environment takes and returns."""
    max_episode_steps: int | None = None
    """Time limit in steps, where there is one and it is known."""
    final_obs: bool = True
    """Whether `Step.final_obs` is the true last observation of an ended episode."""
    exact_state: bool = False
    """Whether ``state_dict`` restores the environments so exactly that a resumed run repeats the straight one."""
    role_groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Groups that a role reads where the spec does not say, such as ``privileged_state`` for ``critic``; other roles
    read all groups but ``mask``."""
    task: Mapping[str, Any] = field(default_factory=dict)
    """The backend's ``name``, and `EnvConfig.task`. Memories are told, which may hold what was played elsewhere; it is
    not part of `to_json`."""

    def to_json(self) -> dict[str, Any]:
        """This value as JSON types; `from_json` is the inverse, but for the device."""
        return {
            "num_envs": self.num_envs,
            "observation_spaces": {name: space_to_json(space) for name, space in self.observation_spaces.items()},
            "action_space": space_to_json(self.action_space),
            "max_episode_steps": self.max_episode_steps,
            "final_obs": self.final_obs,
            "exact_state": self.exact_state,
            "role_groups": {role: list(groups) for role, groups in self.role_groups.items()},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], device: torch.device) -> EnvInfo:
        """Rebuild the value that `to_json` wrote.

        Raises:
            CheckpointError: `data` has other keys or an unknown space.
        """
        try:
            values = dict(data)
            groups = {name: space_from_json(space) for name, space in values.pop("observation_spaces").items()}
            roles = {role: tuple(names) for role, names in values.pop("role_groups").items()}
            return cls(
                observation_spaces=groups,
                action_space=space_from_json(values.pop("action_space")),
                device=device,
                role_groups=roles,
                **values,
            )
        except (KeyError, TypeError) as error:
            raise CheckpointError(f"not a description of an environment: {error}") from error


def same_range(a: spaces.Space[Any], b: spaces.Space[Any]) -> bool:
    """Whether the same values belong to both, but for the rounding of bounds and the precision of numbers."""
    if not (isinstance(a, spaces.Box) and isinstance(b, spaces.Box)):
        return a == b
    return a.shape == b.shape and bool(np.allclose(a.low, b.low) and np.allclose(a.high, b.high))


def tensor_dtype(space: spaces.Space[Any]) -> torch.dtype:
    """The dtype of an observation group: floats are float32, bytes stay bytes, bits are bool, integers are int64."""
    if isinstance(space, spaces.MultiBinary) or space.dtype == np.bool_:
        return torch.bool
    if space.dtype == np.uint8:
        return torch.uint8
    return torch.float32 if np.issubdtype(space.dtype, np.floating) else torch.int64


def space_to_json(space: spaces.Space[Any]) -> dict[str, Any]:
    """A Box, Discrete, MultiDiscrete or MultiBinary space as JSON types.

    Raises:
        TypeError: the space is of another type.
    """
    match space:
        case spaces.Box():
            return {
                "type": "Box",
                "low": space.low.tolist(),
                "high": space.high.tolist(),
                "shape": list(space.shape),
                "dtype": str(space.dtype),
            }
        case spaces.Discrete():
            return {"type": "Discrete", "n": int(space.n), "start": int(space.start)}
        case spaces.MultiDiscrete():
            return {"type": "MultiDiscrete", "nvec": space.nvec.tolist(), "start": space.start.tolist()}
        case spaces.MultiBinary():
            return {"type": "MultiBinary", "n": list(space.shape)}
    raise TypeError(f"a {type(space).__name__} space is not supported; use Box, Discrete, MultiDiscrete or MultiBinary")


def space_from_json(data: Mapping[str, Any]) -> spaces.Space[Any]:
    """The space that `space_to_json` described.

    Raises:
        CheckpointError: the type of space is unknown.
    """
    match data["type"]:
        case "Box":
            dtype, shape = np.dtype(data["dtype"]), tuple(data["shape"])
            low, high = (np.array(data[key], dtype=dtype).reshape(shape) for key in ("low", "high"))
            return spaces.Box(low, high, shape, dtype.type)
        case "Discrete":
            return spaces.Discrete(data["n"], start=data["start"])
        case "MultiDiscrete":
            return spaces.MultiDiscrete(np.array(data["nvec"]), start=np.array(data["start"]))
        case "MultiBinary":
            return spaces.MultiBinary(data["n"])
    raise CheckpointError(f"unknown space type {data['type']!r}")
