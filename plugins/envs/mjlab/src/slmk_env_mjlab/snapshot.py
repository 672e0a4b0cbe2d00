"""The state of a simulation of mjlab: everything in its objects that can change, by the way that leads to it.

Managers, terms, sensors, actuators and commands keep what they remember in plain attributes, and curricula change the
values of configurations; mjlab saves none of it. So the objects are walked through, and tensors, arrays and numbers are
taken as they are. Of the physics the arrays of MuJoCo Warp's ``Data`` count, and those of its ``Model`` that differ
between environments or follow from these; contacts and constraints are computed anew at the beginning of every step.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import PurePath
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
import warp as wp
from mjlab.envs import ManagerBasedRlEnv
from mjlab.sim.sim import Simulation
from mjlab.sim.sim_data import WarpBridge
from torch import Tensor

from slmk.errors import CheckpointError

__all__ = ["restore", "snapshot"]

_OPAQUE = (Simulation, WarpBridge, Enum, PurePath, FunctionType, MethodType, ModuleType, type, torch.device, wp.Device)
"""Types of objects that are not walked into: the physics, which is taken care of by itself, and what cannot change."""
_FOREIGN = ("mujoco", "mujoco_warp", "warp")
"""Packages whose objects are handles of their libraries."""
_HELD = (wp.float32, wp.int32, wp.bool, wp.uint8)
"""What arrays of Warp may consist of, or the vectors in them; others hold handles, which mean nothing elsewhere."""
_FOLLOWING = ("cam_pos0", "cam_poscom0", "cam_mat0", "light_pos0", "light_poscom0", "light_dir0")
"""Fields of the model that `mujoco_warp.set_const` computes from others, though all environments share them."""
_ISLANDS = ("island_", "map_", "nidof", "nisland", "tree_island", "dof_island", "efc_island")
"""Beginnings of names of arrays that say which constraints hang together: made anew by a step that needs them, and
else never written at all."""
_FORGOTTEN = {"extras", "obs_buf", "_obs_buffer", "reward_buf", "reset_buf", "reset_terminated", "reset_time_outs"}
"""Attributes that every step writes before anything reads them."""


def snapshot(env: ManagerBasedRlEnv) -> dict[str, Any]:
    """The state of a simulation as a tree of references."""
    return {
        "objects": {path: value for path, _, _, value in _leaves(env)},
        "physics": _physics(env.sim),
    }


def restore(env: ManagerBasedRlEnv, state: Mapping[str, Any]) -> None:
    """Bring a simulation that has taken a step to a state that `snapshot` took of another one like it.

    Raises:
        CheckpointError: it was another simulation.
    """
    leaves, saved = list(_leaves(env)), state["objects"]
    differ = sorted({path for path, *_ in leaves} ^ set(saved))
    physics = _physics(env.sim)
    differ += sorted(name for name, x in physics.items() if _shape(x) != _shape(state["physics"].get(name)))
    if differ:
        raise CheckpointError(
            f"the state is that of another task, or version of mjlab or of slmk: {', '.join(differ[:5])} differ"
        )
    device = next(iter(physics.values())).device
    for path, owner, key, present in leaves:
        _put(owner, key, present, saved[path], device)
    for name, x in physics.items():
        x.copy_(state["physics"][name])


def _physics(sim: Simulation) -> dict[str, Tensor]:
    """The arrays of the simulation as tensors of the same memory."""
    data = {f"data.{name}": x for name, x in vars(sim.wp_data).items() if not name.startswith(_ISLANDS)}
    names = sorted(sim.expanded_fields | set(_FOLLOWING))
    model = {f"model.{name}": getattr(sim.wp_model, name) for name in names}
    scale = {"model.stat.meaninertia": sim.wp_model.stat.meaninertia}  # By it solvers see that they are done.
    return {name: wp.to_torch(value) for name, value in (data | model | scale).items() if _is_held(value)}


def _leaves(root: Any) -> Iterator[tuple[str, Any, Any, Any]]:
    """Each value that can change: the way to it, its owner, its key or attribute there, and the value."""
    seen: dict[int, Any] = {}
    rest: list[tuple[str, Any]] = [("", root)]
    while rest:
        path, owner = rest.pop()
        if id(owner) in seen:
            continue
        seen[id(owner)] = owner
        for key, value in _children(owner):
            way = f"{path}.{key}" if path else str(key)
            if key in _FORGOTTEN:
                continue
            if _is_held(value):
                yield way, owner, key, wp.to_torch(value)
            elif _is_value(value):
                if isinstance(value, Tensor) or not isinstance(owner, tuple):
                    yield way, owner, key, value
            elif not isinstance(value, _OPAQUE) and type(value).__module__.split(".")[0] not in _FOREIGN:
                rest.append((way, value))


def _children(owner: Any) -> list[tuple[Any, Any]]:
    if isinstance(owner, Mapping):
        return list(owner.items())
    if isinstance(owner, list | tuple | deque):
        return list(enumerate(owner))
    if dataclasses.is_dataclass(owner) and not hasattr(owner, "__dict__"):
        return [(field.name, getattr(owner, field.name)) for field in dataclasses.fields(owner)]
    return list(getattr(owner, "__dict__", {}).items())


def _is_value(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_value(item) and not isinstance(item, Tensor | np.ndarray) for item in value)
    return value is None or isinstance(value, bool | int | float | str | np.generic | Tensor | np.ndarray)


def _is_held(value: Any) -> bool:
    """Whether a value is an array of Warp that holds something, and not the same for all environments in one row."""
    if not isinstance(value, wp.array) or value.size == 0 or 0 in value.strides:
        return False
    return getattr(value.dtype, "_wp_scalar_type_", value.dtype) in _HELD


def _shape(x: Tensor | None) -> tuple[int, ...] | None:
    return None if x is None else tuple(x.shape)


def _put(owner: Any, key: Any, present: Any, saved: Any, device: torch.device) -> None:
    """Write in place where the memory may be shared, and set what is not the same already.

    What was saved may be on the CPU. A tensor that replaces none goes to `device`.
    """
    if isinstance(saved, Tensor):
        if isinstance(present, np.ndarray):
            np.copyto(present, saved.cpu().numpy())
        elif isinstance(present, Tensor) and present.shape == saved.shape and present.dtype == saved.dtype:
            if 0 not in present.stride():
                present.copy_(saved)
        else:
            _set(owner, key, saved.to(present.device if isinstance(present, Tensor) else device, copy=True))
    elif isinstance(present, Tensor) or present != _like(present, saved):
        _set(owner, key, _like(present, saved))


def _like(present: Any, saved: Any) -> Any:
    """What was saved, with tuples for the lists that a file made of them."""
    if not isinstance(saved, list | tuple):
        return saved
    inner = present if isinstance(present, list | tuple) and len(present) == len(saved) else saved
    items = [_like(a, b) for a, b in zip(inner, saved, strict=True)]
    return tuple(items) if isinstance(present, tuple) else items


def _set(owner: Any, key: Any, value: Any) -> None:
    if isinstance(owner, dict | list | deque):
        owner[key] = value
    else:
        object.__setattr__(owner, key, value)
