"""Reads a Minari dataset, and refuses one that does not fit the environment or is damaged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from minari import EpisodeData, MinariDataset
from torch import Tensor

from slmk import EnvInfo, Obs, Problem, SpecError
from slmk_memory_mixed.episodes import Episodes
from slmk_memory_mixed.location import locate, root

__all__ = ["read"]

Array = npt.NDArray[Any]
Groups = Mapping[str, spaces.Space[Any]]


def read(dataset: str, env: EnvInfo) -> Episodes:
    """Every episode of a dataset, in main memory.

    Args:
        dataset: a folder or an id, see `slmk_memory_mixed.location.locate`.
        env: the environments that the run trains in.

    Raises:
        SpecError: there is no such dataset, or it is empty, or damaged, or has other spaces than the environment.
    """
    data = locate(dataset)
    if data is None:
        raise _refused(
            "no such Minari dataset",
            expected=f"a folder, or an id below {root()}",
            found=f"'{dataset}'",
            hint=f"make one with `slmk eval RUN --record {dataset}`, or fetch one with `minari download ID`",
        )
    try:
        opened = MinariDataset(str(data))
        _check_spaces(opened, env)
        episodes = [_episode(each, opened.observation_space, env) for each in opened]
    except SpecError:
        raise
    # Minari lets through whatever h5py, Pillow and the JSON parser raise, and asserts.
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise _refused(f"the dataset in {data} is damaged, or not one of Minari", found=reason) from error
    if not episodes:
        raise _refused(f"the dataset in {data} is empty")
    return Episodes.joined(episodes)


def _refused(
    message: str, *, expected: str | None = None, found: str | None = None, hint: str | None = None
) -> SpecError:
    return SpecError([Problem(message, "memory.demonstrations", expected=expected, found=found, hint=hint)])


def _check_spaces(dataset: MinariDataset, env: EnvInfo) -> None:
    """Refuse other groups, shapes, kinds of numbers or actions.

    Bounds of observations may differ: simulators state them differently for the same numbers.
    """
    groups = dict(_groups(dataset.observation_space))
    expected = env.observation_spaces
    fits = groups.keys() == expected.keys() and all(_alike(groups[name], expected[name]) for name in groups)
    if not fits:
        message = "the demonstrations have other observations than the environment"
        raise _refused(message, expected=_told(expected), found=_told(groups))
    if not (_alike(dataset.action_space, env.action_space) and _same_range(dataset.action_space, env.action_space)):
        message = "the demonstrations have other actions than the environment"
        raise _refused(message, expected=str(env.action_space), found=str(dataset.action_space))


def _groups(space: spaces.Space[Any], name: str = "") -> Iterator[tuple[str, spaces.Space[Any]]]:
    """Observation groups: those of a Dict, nested names joined by ``/``; any other space is the group ``obs``."""
    if isinstance(space, spaces.Dict):
        for key, part in space.items():
            yield from _groups(part, f"{name}/{key}" if name else str(key))
    else:
        yield name or "obs", space


def _told(groups: Groups) -> str:
    return ", ".join(f"{name}: {space}" for name, space in sorted(groups.items()))


def _alike(found: spaces.Space[Any], expected: spaces.Space[Any]) -> bool:
    """Whether values of both are arrays of the same shape and the same kind of number, with the same choices."""
    if type(found) is not type(expected) or found.shape != expected.shape:
        return False
    if isinstance(expected, spaces.Box):
        kinds = [np.dtype(space.dtype).kind for space in (found, expected)]
        return kinds[0] == kinds[1]
    return _choices(found) == _choices(expected)


def _choices(space: Any) -> object:
    """The values of a discrete space."""
    match space:
        case spaces.Discrete():
            return int(space.n), int(space.start)
        case spaces.MultiDiscrete():
            return space.nvec.tolist(), space.start.tolist()
    return space.shape


def _same_range(found: Any, expected: Any) -> bool:
    if not isinstance(expected, spaces.Box):
        return True
    return bool(np.allclose(found.low, expected.low) and np.allclose(found.high, expected.high))


def _episode(data: EpisodeData, space: spaces.Space[Any], env: EnvInfo) -> Episodes:
    """One episode of T steps and T + 1 observations, as the only one."""
    steps = len(data.rewards)
    observations = {name: _tensor(array, env.observation_spaces[name]) for name, array in _arrays(data, space)}
    columns = {
        "action": _tensor(data.actions, env.action_space),
        "reward": torch.tensor(data.rewards, dtype=torch.float32),
        "terminated": torch.tensor(data.terminations, dtype=torch.bool),
        "truncated": torch.tensor(data.truncations, dtype=torch.bool),
    }
    lengths = {name: len(x) - 1 for name, x in observations.items()} | {name: len(x) for name, x in columns.items()}
    if steps == 0 or set(lengths.values()) != {steps}:
        raise ValueError(f"episode {data.id} has {steps} rewards, and steps of {lengths}")
    _check_values(data.id, {**observations, **columns}, env)
    return Episodes(
        obs={name: x[:-1] for name, x in observations.items()},
        final_obs={name: x[-1:] for name, x in observations.items()},
        ends=torch.arange(steps) == steps - 1,
        **columns,
    )


def _arrays(data: EpisodeData, space: spaces.Space[Any]) -> Iterator[tuple[str, Array]]:
    """The observations of an episode by group."""
    for name, _ in _groups(space):
        value = data.observations
        if isinstance(space, spaces.Dict):
            for key in name.split("/"):
                value = value[key]
        yield name, value


def _tensor(array: Array, space: spaces.Space[Any]) -> Tensor:
    """Fractions as float32, MultiBinary as bool, bytes and bits as they are, other integers as int64."""
    dtype = np.dtype(space.dtype)
    if isinstance(space, spaces.MultiBinary):
        return torch.tensor(array, dtype=torch.bool)
    if dtype in (np.uint8, np.bool_):
        return torch.tensor(array.astype(dtype))
    return torch.tensor(array, dtype=torch.float32 if dtype.kind == "f" else torch.int64)


def _check_values(number: Any, tensors: Obs, env: EnvInfo) -> None:
    """Refuse what no environment gives or takes.

    Raises:
        ValueError: a number is not finite, or an action is not one of the space's.
    """
    for name, x in tensors.items():
        if x.is_floating_point() and not torch.isfinite(x).all():
            raise ValueError(f"episode {number}: {name} is not finite everywhere")
    space, action = env.action_space, tensors["action"]
    if isinstance(space, spaces.Discrete) and not ((action >= space.start) & (action < space.start + space.n)).all():
        raise ValueError(f"episode {number}: actions from {action.min()} to {action.max()} are not all in {space}")
