"""Which values a spec may hold: TOML's, but for dates and for numbers that no result file could hold."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from slmk.errors import Problem
from slmk.spec.document import Document
from slmk.spec.lines import KeyPath
from slmk.spec.words import value_words

__all__ = ["leaves", "to_tuples", "value_problems"]

_INT64: Final = 2**63


def value_problems(document: Document) -> Iterator[tuple[KeyPath, Problem]]:
    """The path of each value that a spec cannot hold, and what is wrong with it."""
    for path, value in leaves(document.data):
        if (expected := _expected_instead(value)) is not None:
            problem = document.place(path).problem("wrong value", path, expected=expected, found=value_words(value))
            yield path, problem


def leaves(node: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Every value that is neither a table nor a list, with its path."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from leaves(value, (*path, key))
    elif isinstance(node, list | tuple):
        for index, value in enumerate(node):
            yield from leaves(value, (*path, index))
    else:
        yield path, node


def _expected_instead(value: Any) -> str | None:
    match value:
        case bool() | str():
            return None
        case int():
            return None if -_INT64 <= value < _INT64 else "an integer of 64 bits"
        case float():
            return None if math.isfinite(value) else "a finite number"
    return "a string, a number, true or false, a list or a table"


def to_tuples(value: Any) -> Any:
    """The same value with tuples for lists, as strict configs want it."""
    if isinstance(value, Mapping):
        return {key: to_tuples(item) for key, item in value.items()}
    return tuple(map(to_tuples, value)) if isinstance(value, list | tuple) else value
