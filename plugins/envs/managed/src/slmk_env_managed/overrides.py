"""Values of a simulator's config, set from a spec by path and checked against what is there."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from slmk.errors import Problem, SpecError, did_you_mean
from slmk.toolbox.tables import flattened

__all__ = ["override"]


def override(
    cfg: Any, overrides: Mapping[str, Any], *, reserved: Mapping[str, str], known: Any = None, path: str = "env"
) -> None:
    """Set values of a config of dataclasses, dicts and objects, in place.

    Args:
        cfg: the config.
        overrides: values by dotted path, or tables of such: ``{"rewards.alive.weight": 2.0}``.
        reserved: dotted paths of values that the backend sets, each with what to do instead.
        known: a config by which to check instead; what `cfg` lacks of it is left out.
        path: the table of the spec that holds ``overrides``, for messages.

    Raises:
        SpecError: a path leads nowhere, to a part that has values of its own, or to a value of another type.
    """
    flat = flattened(overrides)
    problems = [problem for key, value in flat.items() for problem in _problems(known or cfg, key, value, reserved)]
    if problems:
        raise SpecError([dataclasses.replace(each, path=f"{path}.overrides.{each.path}") for each in problems])
    for key, value in flat.items():
        owner, name = _owner(cfg, key)
        if owner is not None and name in _names(owner):
            _set(owner, name, value)


def _names(part: Any) -> tuple[str, ...]:
    """What a part of a config has: keys or attributes, but for private ones."""
    names = part if isinstance(part, Mapping) else getattr(part, "__dict__", ())
    return tuple(str(name) for name in names if not str(name).startswith("_"))


def _get(part: Any, name: str) -> Any:
    return part[name] if isinstance(part, Mapping) else getattr(part, name)


def _owner(cfg: Any, key: str) -> tuple[Any, str]:
    """The part that holds the value at `key`, or None where the way there ends too soon, and the value's name."""
    *way, name = key.split(".")
    part = cfg
    for step in way:
        if step not in _names(part):
            return None, step
        part = _get(part, step)
    return part, name


def _problems(cfg: Any, key: str, value: Any, reserved: Mapping[str, str]) -> Iterator[Problem]:
    if key in reserved:
        yield Problem("the backend sets this itself", key, hint=reserved[key])
        return
    part = cfg
    for depth, name in enumerate(way := key.split(".")):
        if name not in (names := _names(part)):
            where = ".".join(way[:depth]) or "the config"
            hint = did_you_mean(name, names)
            yield Problem(f"{where} has no '{name}'", key, expected=", ".join(names) or None, hint=hint)
            return
        part = _get(part, name)
    if not _fits(value, part):
        yield Problem("a value of another type", key, expected=_kind(part), found=f"{value!r}")


def _fits(value: Any, present: Any) -> bool:
    """Whether a value of a spec can take the place of the present one; of what is None no type is known."""
    if present is None:
        return True
    if isinstance(present, bool) or isinstance(value, bool):
        return isinstance(present, bool) and isinstance(value, bool)
    for kind in (int | float, list | tuple, str):
        if isinstance(present, kind):
            return isinstance(value, kind)
    return False


def _kind(present: Any) -> str:
    if isinstance(present, list | tuple):
        return f"a list like {list(present)}"
    words = {bool: "true or false", int: "a number", float: "a number", str: "a string"}
    return words.get(type(present), f"one of its values: {', '.join(_names(present))}")


def _set(owner: Any, name: str, value: Any) -> None:
    present = _get(owner, name)
    if isinstance(present, tuple) and isinstance(value, Sequence):
        value = tuple(value)
    elif isinstance(present, float):
        value = float(value)
    if isinstance(owner, dict):
        owner[name] = value
    else:
        setattr(owner, name, value)
