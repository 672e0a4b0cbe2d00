"""The tasks of the toy environments: tiny, in plain torch, with known answers.

| name | task | answer |
|---|---|---|
| ``toy-truncating`` | two states in turn, reward 1, cut every 5 steps | value 1/(1-gamma): 10 for .9 |
| ``toy-luck`` | the observation says if the steps of an episode pay 1 or 0; cut every 5 | values 10 and 0 for .9 |
| ``toy-bandit`` | the one-hot observation says which of 4 actions pays 1; one-step episodes | return 1 |
| ``toy-continuous`` | reward -(action - observation)²; one-step episodes | return 0, action = observation |
| ``toy-multidiscrete`` | two one-hots say what each of two actions should be | return 1 |
| ``toy-multibinary`` | three bits to be repeated | return 1 |
| ``toy-groups`` | the action that pays is the exclusive or of two groups, ``left`` and ``right`` | return 1 |
| ``toy-memory`` | a cue, shown at the first of 3 steps only, is the action that pays at the others | return 1 |
| ``toy-masked`` | as ``toy-bandit``, but the shown action is forbidden and the next one pays 1 | return 1 |

A policy that ignores observations, or forgets them in ``toy-memory``, cannot have these returns. In ``toy-truncating``
an algorithm that takes a time limit for a real end finds a value near 4.1, which is 1 + .9 + … + .9⁴, or below. In
``toy-luck`` one that goes on from the first observation of the next episode, where it should from the last one of the
old, finds values between 10 and 0. ``toy-masked`` raises an AssertionError where a forbidden action is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor
from torch.nn.functional import one_hot

from slmk.batch import Obs

__all__ = ["TASKS", "Task"]


@dataclass(frozen=True, slots=True)
class Task:
    """What one toy is: its spaces, and pure functions on batches."""

    summary: str
    """One line for `slmk plugins`."""
    observation_spaces: Mapping[str, spaces.Space[Any]]
    """The space of each group."""
    action_space: spaces.Space[Any]
    """The space of actions."""
    first: Callable[[int, torch.Generator], Obs]
    """First observations of N episodes."""
    advance: Callable[[Obs], Obs]
    """Observations after a step, from those before it; in one-step episodes that is the last observation."""
    reward: Callable[[Obs, Tensor], Tensor]
    """Rewards (N,) of actions (N, …) in observations."""
    steps: int
    """Length of every episode."""
    terminates: bool
    """Whether episodes end for good after that, or are cut."""
    hidden: tuple[str, ...] = ()
    """Groups that the functions above see, and agents do not."""


def _draw_one_hot(size: int, *names: str) -> Callable[[int, torch.Generator], Obs]:
    def first(count: int, generator: torch.Generator) -> Obs:
        return {
            name: one_hot(torch.randint(size, (count,), generator=generator, device=generator.device), size).float()
            for name in names
        }

    return first


def _draw_uniform(count: int, generator: torch.Generator) -> Obs:
    return {"obs": torch.rand((count, 1), generator=generator, device=generator.device) * 2 - 1}


def _draw_bits(count: int, generator: torch.Generator) -> Obs:
    return {"obs": torch.randint(2, (count, 3), generator=generator, device=generator.device).float()}


def _draw_pair(count: int, generator: torch.Generator) -> Obs:
    drawn = {**_draw_one_hot(3, "three")(count, generator), **_draw_one_hot(2, "two")(count, generator)}
    return {"obs": torch.cat([drawn["three"], drawn["two"]], dim=1)}


def _draw_cue(count: int, generator: torch.Generator) -> Obs:
    cue = _draw_one_hot(2, "cue")(count, generator)["cue"]
    return {"obs": cue, "cue": cue}


def _draw_masked(count: int, generator: torch.Generator) -> Obs:
    """The shown action and the one opposite are forbidden."""
    obs = _draw_one_hot(4, "obs")(count, generator)
    return {**obs, "mask": (obs["obs"] + obs["obs"].roll(2, -1)) == 0}


def _swap(obs: Obs) -> Obs:
    return {name: value.flip(-1) for name, value in obs.items()}


def _nothing_more(obs: Obs) -> Obs:
    """The last observation of a one-step episode: zeros, which no first observation of the one-hot tasks is."""
    return {name: torch.zeros_like(value) for name, value in obs.items()}


def _no_more_cue(obs: Obs) -> Obs:
    return {"obs": torch.zeros_like(obs["obs"]), "cue": obs["cue"]}


def _nothing_but_the_mask(obs: Obs) -> Obs:
    """An observation in which no action is allowed would be none."""
    return {"obs": torch.zeros_like(obs["obs"]), "mask": obs["mask"]}


def _one(obs: Obs, action: Tensor) -> Tensor:
    return torch.ones(len(action), device=action.device)


def _luck(obs: Obs, action: Tensor) -> Tensor:
    return obs["obs"][:, 1]


def _hits(obs: Obs, action: Tensor) -> Tensor:
    return obs["obs"].argmax(-1) == action


def _closeness(obs: Obs, action: Tensor) -> Tensor:
    return -(action - obs["obs"]).square().sum(-1)


def _pair_hits(obs: Obs, action: Tensor) -> Tensor:
    answer = torch.stack([obs["obs"][:, :3].argmax(-1), obs["obs"][:, 3:].argmax(-1)], dim=-1)
    return (answer == action).float().mean(-1)


def _bit_hits(obs: Obs, action: Tensor) -> Tensor:
    return (obs["obs"] == action).float().mean(-1)


def _exclusive_or(obs: Obs, action: Tensor) -> Tensor:
    return (obs["left"].argmax(-1) + obs["right"].argmax(-1)) % 2 == action


def _recollection(obs: Obs, action: Tensor) -> Tensor:
    """Half of the return for either step at which the cue is not shown."""
    is_over = obs["obs"].sum(-1) == 0
    return 0.5 * (is_over & (obs["cue"].argmax(-1) == action))


def _hits_the_next(obs: Obs, action: Tensor) -> Tensor:
    allowed = obs["mask"].gather(1, action.unsqueeze(1)).all()
    assert allowed, "an action that the group 'mask' forbids was taken in toy-masked"
    return (obs["obs"].argmax(-1) + 1) % 4 == action


def _unit(size: int) -> spaces.Box:
    return spaces.Box(0.0, 1.0, (size,), np.float32)


_SYMMETRIC = spaces.Box(-1.0, 1.0, (1,), np.float32)
_MASKED = {"obs": _unit(4), "mask": spaces.MultiBinary(4)}
_TWO_GROUPS = {"left": _unit(2), "right": _unit(2)}

TASKS: dict[str, Task] = {
    "toy-truncating": Task(
        "Two states in turn, reward 1, cut every 5 steps: the value is 1/(1-gamma).",
        {"obs": _unit(2)}, spaces.Discrete(2), _draw_one_hot(2, "obs"), _swap, _one, 5, False,
    ),
    "toy-luck": Task(
        "Every step of an episode pays 1 or none does, as is observed; cut every 5 steps: values 1/(1-gamma) and 0.",
        {"obs": _unit(2)}, spaces.Discrete(2), _draw_one_hot(2, "obs"), dict, _luck, 5, False,
    ),
    "toy-bandit": Task(
        "The observation says which of four actions pays 1.",
        {"obs": _unit(4)}, spaces.Discrete(4), _draw_one_hot(4, "obs"), _nothing_more, _hits, 1, True,
    ),
    "toy-continuous": Task(
        "Repeat the observed number.",
        {"obs": _SYMMETRIC}, _SYMMETRIC, _draw_uniform, _nothing_more, _closeness, 1, True,
    ),
    "toy-multidiscrete": Task(
        "Two discrete actions at once, both shown by the observation.",
        {"obs": _unit(5)}, spaces.MultiDiscrete([3, 2]), _draw_pair, _nothing_more, _pair_hits, 1, True,
    ),
    "toy-multibinary": Task(
        "Repeat three observed bits.",
        {"obs": _unit(3)}, spaces.MultiBinary(3), _draw_bits, _nothing_more, _bit_hits, 1, True,
    ),
    "toy-groups": Task(
        "The exclusive or of two observation groups.",
        _TWO_GROUPS, spaces.Discrete(2), _draw_one_hot(2, "left", "right"), _nothing_more, _exclusive_or, 1, True,
    ),
    "toy-memory": Task(
        "The cue of the first step is the action that pays at the other two.",
        {"obs": _unit(2)}, spaces.Discrete(2), _draw_cue, _no_more_cue, _recollection, 3, True, hidden=("cue",),
    ),
    "toy-masked": Task(
        "The observed action is forbidden; of the two that are not, the next one pays 1.",
        _MASKED, spaces.Discrete(4), _draw_masked, _nothing_but_the_mask, _hits_the_next, 1, True,
    ),
}  # fmt: skip
"""Every toy by its name."""
