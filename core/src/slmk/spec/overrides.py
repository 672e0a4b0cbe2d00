"""Values set by path from the command line: ``-s env.id=Hopper-v5``."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import tomli

from slmk.component import KINDS_BY_SECTION
from slmk.errors import Problem
from slmk.spec.document import COMMAND_LINE, Document, is_component
from slmk.spec.lines import KeyPath
from slmk.spec.words import value_words

__all__ = ["apply", "path_of"]

_FORM = "key.path=value"


def apply(document: Document, overrides: Iterable[str], problems: list[Problem]) -> Document:
    """The document with each ``path=value`` set, later ones over earlier ones.

    A value is TOML, or a plain string where it is not: ``env.id=Hopper-v5`` needs no quotes. ``reporter.0.interval``
    indexes an array. Another component's ``name`` drops the options of the one before, as in a file that extends, and
    does so before other keys of its table are set. What does not fit is added to `problems`.
    """
    changed = replace(document, data=deepcopy(document.data), places=dict(document.places))
    parsed = [pair for text in overrides if (pair := _parse(text, problems)) is not None]
    for path, value in _names_first(parsed):
        _set(changed, path, value, problems)
    return changed


def _names_first(parsed: Iterable[tuple[KeyPath, Any]]) -> list[tuple[KeyPath, Any]]:
    """The overrides with each name before other keys of its table, but after whatever sets that table as a whole."""
    ordered: list[tuple[KeyPath, Any]] = []
    for path, value in parsed:
        place = len(ordered)
        if _chooses_component(path):
            for index in reversed(range(len(ordered))):
                other = ordered[index][0]
                if path[: len(other)] == other:
                    break
                if other[: len(path) - 1] == path[:-1]:
                    place = index
        ordered.insert(place, (path, value))
    return ordered


def _chooses_component(path: KeyPath) -> bool:
    return path[-1] == "name" and is_component(path[:-1])


def path_of(override: str) -> KeyPath:
    """What ``path=value`` sets; empty if it is nothing of the kind."""
    return _parse_key(override.partition("=")[0])


def _parse(text: str, problems: list[Problem]) -> tuple[KeyPath, Any] | None:
    _, equals, value = text.partition("=")
    path = path_of(text)
    if not equals or not path:
        problems.append(COMMAND_LINE.problem("not an override", expected=_FORM, found=value_words(text)))
    elif path[0] in ("extends", "plugins"):
        problems.append(COMMAND_LINE.problem("can be set in a file only", path, hint="write it into the spec"))
    else:
        return path, _parse_value(value)
    return None


def _parse_key(key: str) -> KeyPath:
    """The parts of a dotted TOML key, quoted ones included; empty if it is not one."""
    try:
        node: Any = tomli.loads(f"{key.strip()} = 0") if "\n" not in key else {}
    except (ValueError, RecursionError):
        return ()
    path: list[str] = []
    while isinstance(node, dict) and len(node) == 1:
        ((part, node),) = node.items()
        path.append(part)
    return tuple(path) if node == 0 else ()


def _parse_value(text: str) -> Any:
    try:
        table = tomli.loads(f"value = {text.strip()}")
    except (ValueError, RecursionError):
        return text
    return table["value"] if set(table) == {"value"} else text


def _set(document: Document, path: KeyPath, value: Any, problems: list[Problem]) -> None:
    node: Any = document.data
    for depth, key in enumerate(path[:-1]):
        node = _child(node, key, path[: depth + 1], problems)
        if node is None:
            return
    index = _index(node, path[-1], path, problems)
    if index is None:
        return
    if _chooses_component(path) and node.get("name", value) != value:
        node.clear()
    if isinstance(node, list) and index == len(node):
        node.append(value)
    else:
        node[index] = value
    _note_place(document, tuple(_indexed(document.data, path)))


def _note_place(document: Document, path: KeyPath) -> None:
    """The value, all inside of it, and the tables made for it come from the command line."""
    for other in [other for other in document.places if other[: len(path)] == path]:
        del document.places[other]
    for depth in range(1, len(path)):
        document.places.setdefault(path[:depth], COMMAND_LINE)
    document.places[path] = COMMAND_LINE


def _child(node: Any, key: str | int, path: KeyPath, problems: list[Problem]) -> Any:
    """The container at `key`, made if it is not there; None if there is something else, which is a problem."""
    index = _index(node, key, path, problems)
    if index is None:
        return None
    if isinstance(node, list):
        if index == len(node):
            node.append({})
        child = node[index]
    else:
        kind = KINDS_BY_SECTION.get(str(key)) if len(path) == 1 else None
        child = node.setdefault(index, [] if kind and kind.form == "list" else {})
    if isinstance(child, dict | list):
        return child
    message = "not a table, so nothing can be set inside"
    problems.append(COMMAND_LINE.problem(message, path, found=value_words(child)))
    return None


def _index(node: Any, key: str | int, path: KeyPath, problems: list[Problem]) -> Any:
    """`key` as an index of `node`; None if it is out of range, which is a problem."""
    if not isinstance(node, list):
        return key
    if str(key) in map(str, range(len(node) + 1)):
        return int(key)
    expected = f"an index from 0 to {len(node)}"
    problems.append(
        COMMAND_LINE.problem("no such element of the list", path, expected=expected, found=value_words(key))
    )
    return None


def _indexed(data: Any, path: KeyPath) -> Iterable[str | int]:
    """`path` with the indices of lists as integers."""
    for key in path:
        step = int(key) if isinstance(data, list) else key
        yield step
        data = data[step]
