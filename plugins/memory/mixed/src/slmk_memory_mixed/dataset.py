"""Reads a Minari dataset, and refuses one that does not fit the environment or is damaged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import inf
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from minari import EpisodeData, MinariDataset
from torch import Tensor

from slmk import EnvInfo, Problem, SpecError
from slmk.env_info import same_range
from slmk_memory_mixed.episodes import Episodes
from slmk_memory_mixed.location import locate, root

__all__ = ["read"]

Array = npt.NDArray[Any]
Groups = Mapping[str, spaces.Space[Any]]

REWARD = spaces.Box(-inf, inf, ())
FLAG = spaces.Box(0, 1, (), bool)
ROUNDING = 1e-3
"""The share of the range by which a recorded action may lie beyond its bounds."""


def read(dataset: str, env: EnvInfo) -> Episodes:
    """Every episode of a dataset, in main memory.

    Args:
        dataset: a folder or an id, see `slmk_memory_mixed.location.locate`.
        env: the environments that the run trains in.

    Raises:
        SpecError: there is no such dataset, or it is empty, or damaged, or has other spaces than the environment, or
            was recorded under other options.
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
        _check_task(opened.storage.metadata.get("slmk_task", {}), env.task)
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
    played, trained = dataset.action_space, env.action_space
    if not _alike(played, trained) or (isinstance(trained, spaces.Box) and not same_range(played, trained)):
        message = "the demonstrations have other actions than the environment"
        raise _refused(message, expected=str(trained), found=str(played))


def _check_task(played: Mapping[str, Any], trained: Mapping[str, Any]) -> None:
    """Refuse a dataset that slmk has recorded with the same backend, but other options that say what the task is.

    Evaluation, which is what is recorded, may have options of its own, such as rewards that are not clipped. Options
    that only one of them knows do not count: the recording may be older than they are.
    """
    if played.get("name") != trained.get("name"):
        return
    differing = [key for key in sorted(played.keys() & trained.keys()) if played[key] != trained[key]]
    if differing:
        raise _refused(
            "the demonstrations were recorded under other options of the environment",
            expected=", ".join(f"env.{key} = {trained[key]}" for key in differing),
            found=", ".join(str(played[key]) for key in differing),
            hint="record them under those of this run: `slmk eval RUN --record NAME -s env.KEY=VALUE`, and with "
            "`-s 'env.evaluation_options={}'` where RUN has some",
        )


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


def _episode(data: EpisodeData, space: spaces.Space[Any], env: EnvInfo) -> Episodes:
    """One episode of T steps and T + 1 observations, as the only one.

    Raises:
        ValueError: lengths do not match, values are not those of the spaces, or it ends before its last step.
    """
    steps = len(data.rewards)
    try:
        observations = {n: _tensor(n, array, env.observation_spaces[n]) for n, array in _arrays(data, space)}
        columns = {
            "action": _tensor("action", data.actions, env.action_space),
            "reward": _tensor("reward", data.rewards, REWARD),
            "terminated": _tensor("terminated", data.terminations, FLAG),
            "truncated": _tensor("truncated", data.truncations, FLAG),
        }
        lengths = {n: len(x) - 1 for n, x in observations.items()} | {n: len(x) for n, x in columns.items()}
        if steps == 0 or set(lengths.values()) != {steps}:
            raise ValueError(f"{steps} rewards, and steps of {lengths}")
        ends = (columns["terminated"] | columns["truncated"])[:-1].nonzero()
        if len(ends):
            raise ValueError(f"it goes on after it ended with step {int(ends[0]) + 1} of {steps}")
        _check_action(columns["action"], env.action_space)
    except ValueError as error:
        raise ValueError(f"episode {data.id}: {error}") from error
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


def _tensor(name: str, values: Array, space: spaces.Space[Any]) -> Tensor:
    """Fractions as float32, MultiBinary as bool, bytes and bits as they are, other integers as int64.

    Raises:
        ValueError: they have another shape than the space's, or another kind of number, or are not finite.
    """
    array, dtype = np.asarray(values), np.dtype(space.dtype)
    if array.shape[1:] != space.shape or array.dtype.kind not in ("fiu" if dtype.kind == "f" else "iub"):
        raise ValueError(f"{name} has values {array.dtype} {array.shape[1:]}, not those of {space}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{name} is not finite everywhere")
    if isinstance(space, spaces.MultiBinary):
        return torch.tensor(array, dtype=torch.bool)
    if dtype in (np.uint8, np.bool_):
        return torch.tensor(array.astype(dtype))
    return torch.tensor(array, dtype=torch.float32 if dtype.kind == "f" else torch.int64)


def _check_action(action: Tensor, space: spaces.Space[Any]) -> None:
    """Refuse actions that no environment takes.

    Raises:
        ValueError: an action is not one of the space's.
    """
    match space:
        case spaces.Discrete():
            low, high, slack = torch.tensor(space.start), torch.tensor(space.start + space.n - 1), torch.tensor(0)
        case spaces.MultiDiscrete():
            low, high = (torch.as_tensor(x) for x in (space.start, space.start + space.nvec - 1))
            slack = torch.zeros_like(low)
        case spaces.Box():
            low, high = (torch.as_tensor(x, dtype=torch.float32) for x in (space.low, space.high))
            slack = ROUNDING * (high - low)
        case _:
            return
    if ((action < low - slack) | (action > high + slack)).any():
        raise ValueError(f"actions from {action.min():g} to {action.max():g} are not all in {space}")
