"""Values of a simulator's config, set from a spec by path and checked against what is there."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
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
    flat, base = flattened(overrides), known or cfg
    problems = [problem for key, value in flat.items() for problem in _problems(base, key, value, reserved)]
    if problems:
        raise SpecError([dataclasses.replace(each, path=f"{path}.overrides.{each.path}") for each in problems])
    for key, value in flat.items():
        owner, name = _owner(cfg, key)
        if owner is not None and name in _names(owner):
            _set(owner, name, _fitted(*_owner(base, key), value))


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
    part = owner = cfg
    for depth, name in enumerate(way := key.split(".")):
        if name not in (names := _names(part)):
            where = ".".join(way[:depth]) or "the config"
            hint = did_you_mean(name, names)
            yield Problem(f"{where} has no '{name}'", key, expected=", ".join(names) or None, hint=hint)
            return
        owner, part = part, _get(part, name)
    try:
        _fitted(owner, name, value)
    except TypeError:
        yield Problem("a value of another type", key, expected=_kind(owner, name), found=f"{value!r}")


def _fitted(owner: Any, name: str, value: Any) -> Any:
    """A value of a spec in the type of the present one, or for a number in that which its field declares.

    Raises:
        TypeError: it is of another type. Of what is None no type is known.
    """
    present = _get(owner, name)
    if present is None or (isinstance(present, bool) and isinstance(value, bool)):
        return value
    if isinstance(present, bool) or isinstance(value, bool):
        raise TypeError
    if isinstance(present, int | float) and isinstance(value, int | float):
        return _number(value, present, _declared(owner, name))
    if isinstance(present, list | tuple) and isinstance(value, list | tuple):
        return tuple(value) if isinstance(present, tuple) else value
    if isinstance(present, str) and isinstance(value, str):
        return value
    raise TypeError


def _number(value: float, present: float, declared: set[str]) -> float:
    """Fields that are declared as floats often have whole numbers as defaults, and dicts declare nothing."""
    if "float" in declared or isinstance(present, float):
        return float(value)
    if isinstance(value, int) or value.is_integer():
        return int(value)
    if "int" in declared:
        raise TypeError
    return value


def _declared(owner: Any, name: str) -> set[str]:
    """The words of the type that a dataclass declares for a field, outside of brackets; none for what is no field."""
    field = getattr(owner, "__dataclass_fields__", {}).get(name)
    declared = getattr(field.type, "__name__", str(field.type)) if field else ""
    return set(re.findall(r"\w+", re.sub(r"\[.*\]", "", declared)))


def _kind(owner: Any, name: str) -> str:
    present = _get(owner, name)
    if isinstance(present, list | tuple):
        return f"a list like {list(present)}"
    whole = {"int", "float"} & _declared(owner, name) == {"int"}
    words = {bool: "true or false", int: "a whole number" if whole else "a number", float: "a number", str: "a string"}
    return words.get(type(present), f"one of its values: {', '.join(_names(present))}")


def _set(owner: Any, name: str, value: Any) -> None:
    if isinstance(owner, dict):
        owner[name] = value
    else:
        setattr(owner, name, value)
