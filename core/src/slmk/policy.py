"""A trained policy as a function, loaded from a run without its environment."""

from __future__ import annotations

import math
from collections import UserDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tomli
import torch
from torch import Tensor

from slmk.assembly import Agent, build_agent, resolve_device
from slmk.batch import Obs
from slmk.checkpoint import Checkpoints, best_return, read_checkpoint
from slmk.discovery import from_file
from slmk.env_info import EnvInfo, tensor_dtype
from slmk.errors import CheckpointError
from slmk.recurrence import Recurrence
from slmk.registry import Registry, get_registry
from slmk.run_directory import CHECKPOINTS, SESSIONS, resolved_spec
from slmk.spec import load_policy_sections
from slmk.state import moved, set_state
from slmk.streams import Streams

__all__ = ["Policy", "find_checkpoint", "registry_of"]

Array = npt.NDArray[Any]


class Policy:
    """Maps observations to actions by the deterministic policy of a checkpoint, statistics frozen.

    A recurrent policy remembers from call to call; `reset` tells it that new episodes begin.
    """

    reads: tuple[str, ...]
    """The observation groups that it reads. What a critic alone reads, such as ``privileged_state``, is not needed."""
    recurrence: Recurrence
    """What its networks remember; not those of a critic."""

    def __init__(self, agent: Agent, env: EnvInfo) -> None:
        self.agent = agent
        self.env = env
        read = _read(agent, env)
        self.reads = tuple(name for name in env.observation_spaces if name in read)
        self.recurrence = agent.recurrence.only(read)
        self._carries: dict[str, Tensor] | None = None

    @classmethod
    def load(cls, path: str | Path, *, device: str = "cpu", registry: Registry | None = None) -> Policy:
        """Load from a run directory, a session's directory, or one checkpoint; see `find_checkpoint`.

        Only the plugins of the algorithm, networks and normalizers are needed: neither the environment nor its
        simulator. Those in single files have to be in the registry, as in `registry_of`.

        Raises:
            CheckpointError: there is no checkpoint, or it cannot be read.
        """
        checkpoint = find_checkpoint(Path(path))
        state, about = read_checkpoint(checkpoint)
        env = EnvInfo.from_json(about["env"], resolve_device(device))
        blueprint = load_policy_sections(about["policy"], registry)
        agent = build_agent(blueprint, env, Streams(about["seed"]), registry)
        set_state(agent.algorithm, moved(state["algorithm"], env.device), streams=False)
        return cls(agent, env)

    def reset(self) -> None:
        """Forget what was seen: the next observations begin new episodes."""
        self._carries = None

    @torch.no_grad()
    def __call__(
        self, obs: Array | Tensor | Mapping[str, Array | Tensor], first: Array | Tensor | bool = False
    ) -> Array:
        """Actions for one observation or a batch.

        Args:
            obs: the groups in `reads` by name, or the only one itself; each (*shape) or (B, *shape). Others that the
                environment has may be there too.
            first: whether it is the first of an episode, or (B,) which of the batch are; matters to recurrent policies.

        Returns:
            The action (*action shape), or (B, *action shape) for a batch.

        Raises:
            ValueError: a group is missing or unknown, or has another shape than the environment's; or the batch is not
                as large as the one before, which a recurrent policy remembers.
        """
        groups, batched = self._as_batch(obs)
        groups = self._remember(groups, torch.as_tensor(first, device=self.env.device))
        action = self.agent.algorithm.policy(groups).cpu().numpy()
        return action if batched else action[0]

    def _remember(self, groups: Obs, first: Tensor) -> Obs:
        batch = len(next(iter(groups.values())))
        remembered = next((len(carry) for carry in (self._carries or {}).values()), batch)
        if remembered != batch:
            raise ValueError(f"a batch of {batch} after one of {remembered}, which is remembered: call reset first")
        if self._carries is None:
            groups = self.recurrence.start(groups)
        else:
            groups = self.recurrence.attach(groups, self._carries, first.expand(batch))
        self._carries = self.recurrence.advance(groups)
        return groups

    def _as_batch(self, obs: Array | Tensor | Mapping[str, Array | Tensor]) -> tuple[Obs, bool]:
        spaces = self.env.observation_spaces
        groups = dict(obs) if isinstance(obs, Mapping) else {self.reads[0]: obs}
        if not set(self.reads) <= set(groups) <= set(spaces):
            raise ValueError(f"expected the observation groups {sorted(self.reads)}, got {sorted(groups)}")
        tensors, extra = {}, set()
        for name in self.reads:
            space = spaces[name]
            given = groups[name]
            tensor = torch.as_tensor(given if isinstance(given, Tensor) else np.asarray(given)).to(self.env.device)
            shape = tuple(space.shape or ())
            if tuple(tensor.shape[tensor.ndim - len(shape) :]) != shape or tensor.ndim - len(shape) > 1:
                raise ValueError(f"group {name}: expected {shape} or (B, {shape}), got {tuple(tensor.shape)}")
            extra.add(tensor.ndim - len(shape))
            tensors[name] = tensor.to(tensor_dtype(space))
        if len(extra) != 1:
            raise ValueError("some groups are a batch and some are not")
        batched = extra.pop() == 1
        return (tensors if batched else {name: tensor[None] for name, tensor in tensors.items()}), batched


def find_checkpoint(path: Path) -> Path:
    """The checkpoint that a run directory, a session directory or a checkpoint directory stands for.

    Of a session it is the one with the best evaluation, or else the newest; of a run that of the session whose best
    evaluation is the highest, or else that of the first one.

    Raises:
        CheckpointError: there is none.
    """
    if (path / "state.json").exists():
        return path
    sessions = [path] if (path / CHECKPOINTS).is_dir() else sorted(path.glob(SESSIONS), key=_number)
    found = [best for session in sessions if (best := Checkpoints(session / CHECKPOINTS).best()) is not None]
    if not found:
        raise CheckpointError(f"{path}: no checkpoint here; expected a run, a {SESSIONS} of one, or a checkpoint")
    return max(found, key=_score)


def _number(session: Path) -> tuple[int, str]:
    """What sorts ``seed-9`` before ``seed-10``."""
    return len(session.name), session.name


def _score(checkpoint: Path) -> float:
    best = best_return(checkpoint)
    return -math.inf if best is None else best


def registry_of(path: Path) -> Registry:
    """The components for a policy: those installed, and those in the files that its run's spec names, if it is there.

    The files are imported, and so run. `Policy.load` does not do that by itself: a checkpoint runs no code.
    """
    spec = resolved_spec(path)
    files = () if spec is None else tomli.loads(spec.read_text(encoding="utf-8")).get("plugins", ())
    return get_registry().extended(from_file(Path(file)) for file in files)


@torch.no_grad()
def _read(agent: Agent, env: EnvInfo) -> set[str]:
    """The groups that the policy of an agent reads, carries among them: found out by calling it once."""
    obs = {
        # Discrete values are counted from `start`, below which there is none.
        name: torch.as_tensor(getattr(space, "start", 0), dtype=tensor_dtype(space), device=env.device)
        .expand(1, *(space.shape or ()))
        .clone()
        for name, space in env.observation_spaces.items()
    }
    recorder = _Recorder(agent.recurrence.start(obs))
    agent.algorithm.policy(recorder)  # type: ignore[arg-type]
    return recorder.read


class _Recorder(UserDict[str, Tensor]):
    """Groups that note which of them are read."""

    def __init__(self, obs: Obs) -> None:
        self.read: set[str] = set()
        self.data = dict(obs)

    def __getitem__(self, name: str) -> Tensor:
        value = self.data[name]
        self.read.add(name)
        return value

    def __or__(self, other: Mapping[str, Tensor]) -> Obs:  # type: ignore[override]
        return dict(self) | dict(other)
