"""The state of any part as a tree of tensors and JSON values, collected so that nothing is forgotten on resume.

A part with ``state_dict`` and ``load_state_dict`` speaks for itself. Of any other object the attributes are its state:
tensors, generators, numbers, strings, containers of these and objects that have state themselves. Attributes that
cannot change are structure and are left out: configs, `EnvInfo`, spaces, devices, dtypes, functions and classes. An
attribute that is neither is an error rather than a silent loss.

A file has tensors, lists and dicts with string keys. Other values are written with their kind. Arrays, numpy's scalars,
tuples and dicts are made anew from it. All others are restored in, or like, what the new part has in their place; where
it has nothing of that sort, that is an error.
"""

from __future__ import annotations

import dataclasses
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from enum import Enum, Flag
from functools import partial
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from pydantic import BaseModel
from torch import Tensor

from slmk.errors import CheckpointError

__all__ = ["State", "get_state", "moved", "set_state"]

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
    types.MappingProxyType,
    partial,
)

_KIND, _VALUE = "$kind", "value"


def _scalar(content: list[Any]) -> Any:
    """A number of numpy from its dtype and its value, of which a complex one has two parts."""
    dtype, *parts = content
    return np.dtype(dtype).type(complex(*parts) if len(parts) == 2 else parts[0])


_REMADE: dict[str, Callable[[Any], Any]] = {
    "array": lambda x: torch.as_tensor(x).numpy(force=True),
    "scalar": _scalar,
    "tuple": tuple,
    "dict": dict,
}
"""Kinds of which the state alone is enough. A dict is one of pairs where not all its keys are strings."""
_NAMES: dict[type, str] = {np.ndarray: "array", tuple: "tuple", dict: "dict"}
_NUMBERS = frozenset(map(np.dtype, ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8")))
"""Types of numbers that numpy has in common with tensors and files."""


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


def set_state(part: Any, state: Mapping[str, Any], *, streams: bool = True) -> None:
    """Restore what `get_state` returned. Tensors of equal shape are written in place, so that views stay views, and so
    are arrays, lists, deques and mappings.

    Args:
        part: what to restore.
        state: what to restore it to.
        streams: whether to restore random streams too, where the part does not speak for itself. Those of a GPU are of
            another kind than a CPU's.

    Raises:
        CheckpointError: the state is that of another kind of part, or the part has no object to restore one in.
    """
    if hasattr(part, "load_state_dict"):
        part.load_state_dict(state)
        return
    mine = {name for name, value in _attributes(part).items() if not _is_structure(value)}
    if mine != set(state):
        missing, unknown = sorted(mine - set(state)), sorted(set(state) - mine)
        raise CheckpointError(f"the state of {type(part).__name__} does not fit: lacks {missing}, unknown {unknown}")
    for name, value in state.items():
        restored = _set(getattr(part, name), value, f"{type(part).__name__}.{name}", streams)
        if restored is not getattr(part, name):
            setattr(part, name, restored)


def moved(state: Any, device: torch.device) -> Any:
    """A state with its tensors on `device`; one that is there already is not copied."""
    match state:
        case Tensor():
            return state.to(device)
        case dict():
            return {key: moved(item, device) for key, item in state.items()}
        case list():
            return [moved(item, device) for item in state]
    return state


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


def _kind(value: Any) -> str | None:
    """What is written with the state of a value, so that it comes back as it was; None for what files have."""
    if isinstance(value, np.generic):  # Some are Python's numbers as well.
        return "scalar"
    is_plain = value is None or isinstance(value, bool | int | float | str | Tensor) or type(value) is list
    if is_plain and not isinstance(value, Enum):
        return None
    return _NAMES.get(type(value)) or f"{type(value).__module__}.{type(value).__qualname__}"


def _get(value: Any, where: str) -> Any:
    kind = _kind(value)
    if kind is None:
        return _items(value, where) if isinstance(value, list) else value
    if kind == "dict" and all(type(key) is str for key in value) and _KIND not in value:
        return dict(_entries(value, where))
    return {_KIND: kind, _VALUE: _content(value, where)}


def _content(value: Any, where: str) -> Any:
    if isinstance(value, Enum):
        return value.value if isinstance(value, Flag) else value.name
    if isinstance(value, torch.Generator):
        return value.get_state()
    if isinstance(value, np.random.Generator):
        return _get(value.bit_generator.state, where)
    if isinstance(value, np.generic) or type(value) is np.ndarray:
        if value.dtype in _NUMBERS and isinstance(value, np.ndarray):
            return np.asarray(value, order="C")  # Torch has no negative strides.
        if value.dtype in _NUMBERS:
            number = value.item()
            return [value.dtype.str, *((number.real, number.imag) if isinstance(number, complex) else (number,))]
        raise TypeError(
            f"{where} has the dtype {value.dtype}, which checkpoints do not hold; define state_dict on its owner"
        )
    if hasattr(value, "state_dict"):
        return dict(value.state_dict())
    if isinstance(value, MutableMapping):
        return [list(entry) for entry in _entries(value, where)]
    if isinstance(value, list | tuple | deque):
        return _items(value, where)
    if _is_its_attributes(value):
        return get_state(value)
    raise TypeError(f"{where} is a {type(value).__name__}, which has no known state; define state_dict on its owner")


def _is_its_attributes(value: Any) -> bool:
    """Whether an object holds nothing besides; one that does, such as a set, has a way of its own to be pickled."""
    kind: Any = type(value)
    if kind.__reduce__ is not object.__reduce__ or kind.__reduce_ex__ is not object.__reduce_ex__:
        return False
    return hasattr(value, "__dict__") or dataclasses.is_dataclass(value)


def _items(values: Iterable[Any], where: str) -> list[Any]:
    return [_get(item, f"{where}[{index}]") for index, item in enumerate(values)]


def _entries(values: Mapping[Any, Any], where: str) -> Iterator[tuple[Any, Any]]:
    for key, item in values.items():
        if not _is_structure(item):
            if not _is_plain(key):
                raise TypeError(
                    f"{where} has the key {key!r}, which is no number or string; define state_dict on its owner"
                )
            yield _get(key, where), _get(item, f"{where}[{key!r}]")


def _is_plain(key: Any) -> bool:
    """Whether a key is restored as one that is equal and of the same type."""
    if type(key) is tuple:
        return all(map(_is_plain, key))
    return key is None or type(key) in (bool, int, float, str) or isinstance(key, np.number | np.bool_)


def _opened(state: Any) -> tuple[str | None, Any]:
    """The kind of value that a state is of, if it is not what files have, and the state."""
    if not isinstance(state, dict):
        return None, state
    return (state[_KIND], state[_VALUE]) if _KIND in state else ("dict", state)


def _set(present: Any, state: Any, where: str, streams: bool) -> Any:
    """The value that replaces `present`, which is `present` itself wherever it could be changed in place."""
    kind, content = _opened(state)
    mine = _kind(present)
    if kind != mine and not {kind, mine}.isdisjoint({None, *_REMADE}):
        return _new(state, where)
    match present, content:
        case Tensor(), Tensor():
            if present.shape != content.shape or present.dtype != content.dtype:
                return content.to(present.device)
            with torch.no_grad():
                present.copy_(content)
        case np.ndarray(), Tensor() | np.ndarray():
            array = _REMADE["array"](content)
            if present.shape != array.shape or present.dtype != array.dtype or not present.flags.writeable:
                return array
            present[...] = array
        case Enum(), _:
            return type(present)(content) if isinstance(present, Flag) else type(present)[content]
        case ((torch.Generator() | np.random.Generator()), _) if not streams:
            pass
        case torch.Generator(), Tensor():
            if content.shape != present.get_state().shape:
                raise CheckpointError(f"{where} is a random stream of another kind of device than {present.device}")
            present.set_state(content.cpu())
        case np.random.Generator(), dict():
            present.bit_generator.state = _new(content, where)
        case _, dict() if hasattr(present, "load_state_dict"):
            present.load_state_dict(content)
        case MutableMapping(), dict() | list():
            _set_entries(present, content, where, streams)
        case list() | tuple() | deque(), list():
            return _set_items(present, content, where, streams)
        case _, dict() if hasattr(present, "__dict__") or dataclasses.is_dataclass(present):
            set_state(present, content, streams=streams)
        case _:
            return _new(state, where)
    return present


def _new(state: Any, where: str) -> Any:
    """The value that a state tells of, where there is none of its kind to restore it in."""
    kind, content = _opened(state)
    if kind is not None and kind not in _REMADE:
        raise CheckpointError(
            f"{where} was a {kind} when it was saved, and a new part has none there to restore it in; "
            "make it with the part, or define state_dict and load_state_dict on its owner"
        )
    if isinstance(content, dict):
        content = {key: _new(item, f"{where}[{key!r}]") for key, item in content.items()}
    if isinstance(content, list):
        content = [_new(item, f"{where}[{index}]") for index, item in enumerate(content)]
    return content if kind is None else _REMADE[kind](content)


def _set_entries(
    present: MutableMapping[Any, Any], content: dict[str, Any] | list[Any], where: str, streams: bool
) -> None:
    """Restore in place, in the order of `present`; what it has not comes last, as it was saved."""
    pairs = content if isinstance(content, list) else content.items()
    state = {_new(key, where): item for key, item in pairs}
    missing = sorted(str(key) for key, item in present.items() if key not in state and not _is_structure(item))
    if missing:
        raise CheckpointError(f"the state of {where} lacks {missing}")
    for key, item in state.items():
        at = f"{where}[{key!r}]"
        present[key] = _set(present[key], item, at, streams) if key in present else _new(item, at)


def _set_items(present: Any, content: list[Any], where: str, streams: bool) -> Any:
    """Restore item by item, or with new ones where their number is another. A list or deque stays the same object."""
    old = present if len(present) == len(content) else [None] * len(content)
    items = [_set(a, b, f"{where}[{index}]", streams) for index, (a, b) in enumerate(zip(old, content, strict=True))]
    if isinstance(present, tuple):
        return type(present)(*items) if hasattr(present, "_fields") else type(present)(items)
    present.clear()
    present.extend(items)
    return present
