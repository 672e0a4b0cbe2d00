"""The state of any part as a tree of tensors and JSON values, collected so that nothing is forgotten on resume.

A part with ``state_dict`` and ``load_state_dict`` speaks for itself. Of any other object the attributes are its state:
tensors, generators, numbers, strings, containers of these and objects that have state themselves. Attributes that
cannot change are structure and are left out: configs, `EnvInfo`, spaces, devices, dtypes, functions and classes. An
attribute that is neither is an error rather than a silent loss.
"""

from __future__ import annotations

import dataclasses
import types
from collections import deque
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from pydantic import BaseModel
from torch import Tensor

from slmk.errors import CheckpointError

__all__ = ["State", "get_state", "set_state"]

State = dict[str, Any]
"""A tree: dicts with string keys, lists, tensors, ndarrays, numbers, strings, booleans and None."""

_STRUCTURE = (
    BaseModel,
    spaces.Space,
    torch.device,
    torch.dtype,
    type,
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    types.ModuleType,
    partial,
)


def get_state(part: Any) -> State:
    """The state of a part. Tensors are references: write or copy them before the part goes on.

    Raises:
        TypeError: an attribute is neither state nor structure; the message names it.
    """
    if hasattr(part, "state_dict"):
        return dict(part.state_dict())
    return {
        name: _get(value, f"{type(part).__name__}.{name}")
        for name, value in _attributes(part).items()
        if not _is_structure(value)
    }


def set_state(part: Any, state: Mapping[str, Any]) -> None:
    """Restore what `get_state` returned. Tensors of equal shape are written in place, so that views stay views.

    Raises:
        CheckpointError: the state is that of another kind of part.
    """
    if hasattr(part, "load_state_dict"):
        part.load_state_dict(state)
        return
    mine = {name for name, value in _attributes(part).items() if not _is_structure(value)}
    if mine != set(state):
        missing, unknown = sorted(mine - set(state)), sorted(set(state) - mine)
        raise CheckpointError(f"the state of {type(part).__name__} does not fit: lacks {missing}, unknown {unknown}")
    for name, value in state.items():
        restored = _set(getattr(part, name), value)
        if restored is not getattr(part, name):
            setattr(part, name, restored)


def _attributes(part: Any) -> dict[str, Any]:
    if hasattr(part, "__dict__"):
        return dict(vars(part))
    if dataclasses.is_dataclass(part):
        return {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}
    raise TypeError(f"{type(part).__name__} has no attributes to collect; give it state_dict and load_state_dict")


def _is_structure(value: Any) -> bool:
    if isinstance(value, _STRUCTURE):
        return True
    frozen = dataclasses.is_dataclass(value) and value.__dataclass_params__.frozen  # type: ignore[union-attr]
    return bool(frozen) and not hasattr(value, "state_dict")


def _get(value: Any, where: str) -> Any:
    if value is None or isinstance(value, bool | int | float | str | Tensor | np.ndarray):
        return value
    if isinstance(value, torch.Generator):
        return value.get_state()
    if isinstance(value, np.random.Generator):
        return value.bit_generator.state
    if isinstance(value, np.generic):
        return value.item()
    if hasattr(value, "state_dict"):
        return dict(value.state_dict())
    if isinstance(value, Mapping):
        return {str(key): _get(item, f"{where}[{key!r}]") for key, item in value.items() if not _is_structure(item)}
    if isinstance(value, list | tuple | deque):
        return [_get(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if hasattr(value, "__dict__") or dataclasses.is_dataclass(value):
        return get_state(value)
    raise TypeError(f"{where} is a {type(value).__name__}, which has no known state; define state_dict on its owner")


def _set(present: Any, state: Any) -> Any:
    """The value that replaces `present`, which is `present` itself wherever it could be changed in place."""
    match present:
        case torch.Generator():
            present.set_state(state.cpu())
            return present
        case np.random.Generator():
            present.bit_generator.state = state
            return present
        case Tensor() if isinstance(state, Tensor) and present.shape == state.shape and present.dtype == state.dtype:
            with torch.no_grad():
                present.copy_(state)
            return present
        case Tensor() if isinstance(state, Tensor):
            return state.to(present.device)
        case np.ndarray() if isinstance(state, Tensor):
            return state.cpu().numpy()
        case None | bool() | int() | float() | str() | np.generic():
            return state
    if hasattr(present, "load_state_dict"):
        present.load_state_dict(state)
        return present
    if isinstance(present, Mapping):
        return _set_entries(present, state)
    if isinstance(present, list | tuple | deque):
        items = [_set(a, b) for a, b in zip(present, state, strict=True)] if len(present) == len(state) else list(state)
        return items if isinstance(present, list) else _like(present, items)
    set_state(present, state)
    return present


def _set_entries(present: Mapping[Any, Any], state: Mapping[str, Any]) -> dict[Any, Any]:
    """The entries of `state` in the order of `present`; those that `present` has not come last, as they were saved."""
    missing = sorted(str(key) for key, item in present.items() if str(key) not in state and not _is_structure(item))
    if missing:
        raise CheckpointError(f"the state lacks {missing}")
    kept = {key: _set(item, state[str(key)]) if str(key) in state else item for key, item in present.items()}
    known = {str(key) for key in present}
    return kept | {key: item for key, item in state.items() if key not in known}


def _like(present: tuple[Any, ...] | deque[Any], items: list[Any]) -> tuple[Any, ...] | deque[Any]:
    return deque(items, present.maxlen) if isinstance(present, deque) else tuple(items)
