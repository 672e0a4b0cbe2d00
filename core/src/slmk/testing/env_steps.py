"""Making environments under test, and stepping them by random actions."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from slmk.env_info import EnvInfo
from slmk.protocols import Env
from slmk.testing.subject import Subject

if TYPE_CHECKING:
    from slmk.batch import Step

__all__ = ["make_env", "random_actions", "steps", "steps_until"]

_MAX_STEPS = 3000
"""Vector steps after which a check stops waiting for an episode to end."""


def make_env(subject: Subject, num_envs: int, seed: int, **options: Any) -> Env:
    """The environments under test, on the CPU, with other options where some are given."""
    config: Any = subject.config(num_envs=num_envs, **options)
    config.prepare()
    return subject.target()(config, device=torch.device("cpu"), seed=seed)  # type: ignore[no-any-return]


def random_actions(info: EnvInfo, seed: int = 0) -> Iterator[Tensor]:
    """Endless batches of actions (N, *shape), drawn within the action space; unbounded directions from N(0, 1)."""
    space, rng = info.action_space, np.random.default_rng(seed)
    while True:
        yield torch.from_numpy(_draw(space, info.num_envs, rng)).to(info.device)


def steps(env: Env, count: int) -> Iterator[Step]:
    """Steps by `random_actions`; the environment was reset."""
    for action in islice(random_actions(env.info), count):
        yield env.step(action)


def steps_until(env: Env, episodes: int) -> Iterator[Step]:
    """Steps by `random_actions` until that many episodes have ended.

    Raises:
        AssertionError: none has after `_MAX_STEPS` steps.
    """
    ended = 0
    for step in steps(env, _MAX_STEPS):
        yield step
        ended += int((step.terminated | step.truncated).sum())
        if ended >= episodes:
            return
    assert ended, f"no episode ended within {_MAX_STEPS} steps; give the check an environment with short episodes"


def _draw(space: spaces.Space[Any], count: int, rng: np.random.Generator) -> Any:
    match space:
        case spaces.Discrete():
            return rng.integers(space.start, space.start + space.n, count)
        case spaces.MultiDiscrete():
            return rng.integers(space.start, space.start + space.nvec, (count, *space.shape))
        case spaces.MultiBinary():
            return rng.integers(0, 2, (count, *space.shape))
        case spaces.Box():
            bounded = np.isfinite(space.low) & np.isfinite(space.high)
            low, high = np.where(bounded, space.low, 0.0), np.where(bounded, space.high, 1.0)
            uniform = low + (high - low) * rng.random((count, *space.shape))
            return np.where(bounded, uniform, rng.standard_normal(uniform.shape)).astype(np.float32)
    raise AssertionError(f"the action space is a {type(space).__name__}, which the contract does not have")
