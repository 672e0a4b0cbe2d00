"""A spec as TOML text, each value with a comment that says where it comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import tomli_w

from slmk.spec.document import dotted
from slmk.spec.lines import KeyPath

__all__ = ["write"]


def write(data: Mapping[str, Any], sources: Mapping[str, str]) -> str:
    """`data` as TOML: one line for each value, one header for each table.

    Args:
        data: TOML values by section.
        sources: the comments, by dotted path of the values that have one.
    """
    return "\n".join(_table(data, (), sources)).lstrip("\n") + "\n"


def _table(table: Mapping[str, Any], path: KeyPath, sources: Mapping[str, str]) -> Iterator[str]:
    inner = {key: value for key, value in table.items() if _is_table(value) or _is_tables(value)}
    for key, value in table.items():
        if key not in inner:
            yield f"{_key(key)} = {_literal(value)}{_comment(sources.get(dotted((*path, key)), ''))}"
    for key, value in inner.items():
        here = (*path, key)
        if _is_table(value):
            yield from _headed("[{}]", value, here, sources)
        else:
            for index, item in enumerate(value):
                yield from _headed("[[{}]]", item, (*here, index), sources)


def _headed(form: str, table: Mapping[str, Any], path: KeyPath, sources: Mapping[str, str]) -> Iterator[str]:
    keys = [_key(key) for key in path if isinstance(key, str)]
    if not table or not all(_is_table(value) for value in table.values()) or "[[" in form:
        yield ""
        yield form.format(".".join(keys))
    yield from _table(table, path, sources)


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping)


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_table, value))


def _literal(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {_literal(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_literal, value)) + "]"
    return tomli_w.dumps({"x": value}).removeprefix("x = ").rstrip("\n")


def _key(key: str) -> str:
    return tomli_w.dumps({key: 0}).removesuffix(" = 0\n")


def _comment(source: str) -> str:
    printable = "".join(character for character in source if character.isprintable())
    return f"  # {printable}" if printable else ""
