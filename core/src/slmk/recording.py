"""Writes episodes as a Minari dataset. The library is an extra, imported when first used."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from torch import Tensor

from slmk.batch import Obs, Step
from slmk.env_info import EnvInfo
from slmk.errors import RunError
from slmk.evaluation import MAX_EPISODE_STEPS, shares

__all__ = ["Recording"]

_NAME = re.compile(r"[-\w]+-v\d+")
"""What Minari takes for the last part of a dataset's id."""
FACTOR, MARGIN = 3, 2**20
"""What an episode takes in an HDF5 file at most: so many times its bytes, since chunks are filled up along every axis,
and so many more for what is said about it."""

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class _Row:
    """One step of one environment."""

    obs: dict[str, Array]
    action: Array
    reward: Array
    terminated: bool
    truncated: bool


class Recording:
    """A dataset of whole episodes, which appears under its name only when all of them are in it.

    It is a folder with the folder ``data`` in it, as one of Minari's local datasets. Observations are raw: a single
    group ``obs`` is stored as it is, others as a Dict. Pictures are not compressed, so that what comes out went in.
    """

    def __init__(self, path: Path, env: EnvInfo, episodes: int, about: Mapping[str, Any]) -> None:
        """Prepare to record what `slmk.evaluation.play` counts.

        Args:
            path: the folder to make, named as Minari's datasets are, such as ``hopper-expert-v0``.
            env: the environments that are played.
            episodes: how many are played.
            about: further metadata of the dataset, such as ``algorithm_name``, as JSON types.
        """
        self._path = path
        self._env = env
        self._about = about
        self._left = shares(episodes, env.num_envs)
        """Episodes that are still to be recorded in each environment."""
        self._rows: list[list[_Row]] = [[] for _ in range(env.num_envs)]
        # Absolute, since Minari's writer loses its way below a relative folder.
        self._temporary = path.absolute().with_name(f".{path.name}.tmp")

    def __enter__(self) -> Recording:
        """Start the dataset.

        Raises:
            RunError: there is something at the path already, or it is not a name for a dataset, Minari is missing, or
                the environment does not tell what an episode ended with.
        """
        self._check()
        try:
            import minari
            from minari.data_collector import EpisodeBuffer
            from minari.dataset.minari_storage import MinariStorage
        except ImportError as error:
            raise RunError("recording needs Minari: pip install 'slmk[demonstrations]'") from error
        self._buffer: Any = EpisodeBuffer
        observation_space = _nested(self._env.observation_spaces)
        try:
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._temporary.mkdir(parents=True)
            self._storage: Any = MinariStorage.new(
                self._temporary / "data", observation_space, self._env.action_space, jpeg_encoding=False
            )
            self._storage.update_metadata(
                {"dataset_id": self._path.name, "minari_version": minari.__version__, **self._about}
            )
        except OSError as error:
            shutil.rmtree(self._temporary, ignore_errors=True)
            raise self._failed(error) from error
        return self

    def add(self, obs: Obs, action: Tensor, step: Step) -> None:
        """Take one vector step, and write the episodes that ended with it.

        Raises:
            RunError: there is no room on the disk for an episode; what was recorded is then removed by `__exit__`.
        """
        groups = self._env.observation_spaces
        before, after, final = (_arrays(each, groups) for each in (obs, step.obs, step.final_obs))
        actions = _as_space(action, self._env.action_space)
        reward, terminated, truncated = (x.cpu().numpy() for x in (step.reward, step.terminated, step.truncated))
        for index in np.flatnonzero(self._left).tolist():
            rows = self._rows[index]
            done = bool(terminated[index] or truncated[index])
            goes_on = not done and len(rows) + 1 == MAX_EPISODE_STEPS
            cut = bool(truncated[index]) or goes_on
            rows.append(_Row(_pick(before, index), actions[index], reward[index], bool(terminated[index]), cut))
            if done or cut:
                self._write(index, _pick(final if done else after, index))
            if goes_on:  # As in `play`: no other begins.
                self._left[index] = 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the dataset its name; after an error, leave nothing."""
        try:
            if kind is None:
                self._temporary.rename(self._path)
        except OSError as problem:
            raise self._failed(problem) from problem
        finally:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def _check(self) -> None:
        path = self._path
        if path.exists():
            raise RunError(f"{path} exists already, and a dataset is never written over: choose another name")
        if not _NAME.fullmatch(path.name):
            raise RunError(f"'{path.name}' is no name for a Minari dataset: expected one such as {path.stem}-v0")
        if not self._env.final_obs:
            raise RunError("the environment does not tell the last observation of an episode, so it cannot be recorded")

    def _write(self, index: int, last: dict[str, Array]) -> None:
        """Write the episode that environment `index` has played, which ended with the observation `last`."""
        rows, self._rows[index] = self._rows[index], []
        self._left[index] -= 1
        observations = [*(row.obs for row in rows), last]
        groups = {name: np.stack([obs[name] for obs in observations]) for name in last}
        columns = {
            "actions": np.stack([row.action for row in rows]),
            "rewards": np.stack([row.reward for row in rows]),
            "terminations": np.array([row.terminated for row in rows]),
            "truncations": np.array([row.truncated for row in rows]),
        }
        try:
            self._claim(sum(x.nbytes for x in (*groups.values(), *columns.values())))
            self._storage.update_episodes([self._buffer(observations=_nested(groups), **columns, infos={})])
        except (OSError, RuntimeError) as error:  # h5py raises either.
            raise self._failed(error) from error

    def _claim(self, size: int) -> None:
        """See to it that an episode of `size` bytes fits, where the system can: HDF5 kills the process on a full disk.

        Raises:
            OSError: it does not.
        """
        if not hasattr(os, "posix_fallocate"):
            return
        written = sum(path.stat().st_size for path in (self._temporary / "data").iterdir())
        with TemporaryFile(dir=self._temporary) as file:
            # Behind as much as is there already, since the length of a file may be limited too.
            os.posix_fallocate(file.fileno(), written, FACTOR * size + MARGIN)

    def _failed(self, error: OSError | RuntimeError) -> RunError:
        return RunError(f"cannot write the dataset {self._path}: {error}")


def _arrays(obs: Obs, groups: Mapping[str, spaces.Space[Any]]) -> dict[str, Array]:
    """The environment's groups (N, *shape), without what recurrent networks remember."""
    return {name: _as_space(obs[name], space) for name, space in groups.items()}


def _pick(arrays: Mapping[str, Array], index: int) -> dict[str, Array]:
    """The groups (*shape) of one environment."""
    return {name: x[index] for name, x in arrays.items()}


def _as_space(x: Tensor, space: spaces.Space[Any]) -> Array:
    """An array of the space's own dtype."""
    return x.cpu().numpy().astype(space.dtype, copy=False)


def _nested(groups: Mapping[str, Any]) -> Any:
    """Groups as an observation of Gymnasium: ``obs`` alone by itself, others in dicts nested at each ``/``.

    Spaces become a `spaces.Dict` where other values become a dict.
    """
    if set(groups) == {"obs"}:
        return groups["obs"]
    tree: dict[str, Any] = {}
    for name, value in groups.items():
        *folders, key = name.split("/")
        branch = tree
        for folder in folders:
            branch = branch.setdefault(folder, {})
        branch[key] = value
    return _as_dict_space(tree) if isinstance(next(iter(groups.values())), spaces.Space) else tree


def _as_dict_space(tree: Mapping[str, Any]) -> spaces.Dict:
    return spaces.Dict({key: _as_dict_space(x) if isinstance(x, dict) else x for key, x in tree.items()})
