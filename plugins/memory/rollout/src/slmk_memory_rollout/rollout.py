"""The rollout memory: everything since the last update, in order, handed out once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from slmk import Act, EnvInfo, Obs, Step, Transition
from slmk_memory_rollout import RolloutConfig

__all__ = ["Rollout"]


class Rollout:
    """Keeps references to what each vector step brought (tensors are never overwritten) and stacks them when taken."""

    def __init__(self, config: RolloutConfig, env: EnvInfo, horizon: int, generator: torch.Generator) -> None:
        """See `slmk.hookspecs.slmk_memories`. A rollout grows with what is added, whatever its size."""
        self._device = env.device
        self._steps: list[tuple[Obs, Act, Step]] = []

    def __len__(self) -> int:
        """Vector steps held."""
        return len(self._steps)

    def add(self, obs: Obs, act: Act, step: Step) -> None:
        """Keep one vector step."""
        self._steps.append((obs, act, step))

    def take(self) -> Transition:
        """All steps since the last call as a transition with axes (T, N, …), which are then forgotten.

        Raises:
            IndexError: nothing was added.
        """
        if not self._steps:
            raise IndexError("nothing to take from the rollout: no step was added since the last take")
        obs, acts, steps = zip(*self._steps, strict=True)
        self._steps.clear()
        terminated = torch.stack([step.terminated for step in steps])
        truncated = torch.stack([step.truncated for step in steps])
        before, after = _observations(obs, steps)
        return Transition(
            obs=before,
            action=torch.stack([act.action for act in acts]),
            reward=torch.stack([step.reward for step in steps]),
            next_obs=_with_final(after, steps, terminated | truncated),
            terminated=terminated,
            truncated=truncated,
            extras=_stack([act.extras for act in acts]),
        )

    def state_dict(self) -> dict[str, Any]:
        """The steps held; none right after `take`."""
        return {"steps": [_to_state(*step) for step in self._steps]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._steps = [_from_state(step, self._device) for step in state["steps"]]


def _stack(groups: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """T dicts of (N, …) as one dict of (T, N, …)."""
    return {name: torch.stack([group[name] for group in groups]) for name in groups[0]}


def _observations(obs: Sequence[Obs], steps: Sequence[Step]) -> tuple[Obs, Obs]:
    """What was acted on and what came after it, each (T, N, …)."""
    # In the training loop each step's outcome is acted on next: T + 1 observations, of which both are views.
    if all(step.obs is later for step, later in zip(steps, obs[1:], strict=False)):
        whole = _stack([*obs, steps[-1].obs])
        return {name: x[:-1] for name, x in whole.items()}, {name: x[1:] for name, x in whole.items()}
    return _stack(obs), _stack([step.obs for step in steps])


def _with_final(after: Obs, steps: Sequence[Step], done: Tensor) -> Obs:
    """`after`, with the last observation of the old episode where one ended; `done` is (T, N)."""
    if all(step.final_obs is step.obs for step in steps):
        return after
    final = _stack([step.final_obs for step in steps])
    return {name: torch.where(_like(done, x), final[name], x) for name, x in after.items()}


def _like(done: Tensor, x: Tensor) -> Tensor:
    """(T, N) as (T, N, 1, …), to broadcast against `x`."""
    return done.reshape(*done.shape, *(1,) * (x.dim() - done.dim()))


def _to_state(obs: Obs, act: Act, step: Step) -> dict[str, Any]:
    return {
        "obs": obs,
        "action": act.action,
        "extras": act.extras,
        "after": step.obs,
        "final": None if step.final_obs is step.obs else step.final_obs,
        "reward": step.reward,
        "terminated": step.terminated,
        "truncated": step.truncated,
    }


def _from_state(state: Mapping[str, Any], device: torch.device) -> tuple[Obs, Act, Step]:
    def groups(name: str) -> dict[str, Tensor]:
        return {group: x.to(device) for group, x in state[name].items()}

    reward, terminated, truncated = (state[name].to(device) for name in ("reward", "terminated", "truncated"))
    after = groups("after")
    step = Step(after, after if state["final"] is None else groups("final"), reward, terminated, truncated)
    return groups("obs"), Act(state["action"].to(device), groups("extras")), step
