"""What pydantic finds wrong with options, said in the words of a spec: key, expected, found, nearest valid name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema

from slmk.config import Config
from slmk.errors import did_you_mean
from slmk.spec.lines import KeyPath
from slmk.spec.words import alternatives, type_words, value_words

__all__ = ["Mistake", "explain", "unknown_key_hint"]


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake in a table, before it is known where the table stands."""

    path: KeyPath
    """The key, relative to the table."""
    message: str
    expected: str | None = None
    found: str | None = None
    hint: str | None = None
    missing: bool = False
    """Whether the key is absent, so that it has no line of its own."""


def explain(error: ValidationError, config: type[Config], values: Mapping[str, Any]) -> list[Mistake]:
    """Every mistake of a table, one per key.

    A value that may have several types gives pydantic one error per type; they become one mistake: that of a type which
    it has, if there is one. Where there are mistakes inside of the value, they say more.
    """
    schema = _schema(config)
    mistakes: dict[KeyPath, Mistake] = {}
    for item in sorted(error.errors(include_url=False, include_input=False), key=_is_of_another_type):
        path = _real_path(item["loc"], values, is_missing=item["type"] == "missing")
        mistakes.setdefault(path, _mistake(item, path, schema, values))
    return [mistake for path, mistake in mistakes.items() if not _has_inner(path, mistakes)]


def _is_of_another_type(item: Any) -> bool:
    return bool(item["type"].endswith("_type"))


def _has_inner(path: KeyPath, paths: Iterable[KeyPath]) -> bool:
    return any(len(other) > len(path) and other[: len(path)] == path for other in paths)


def _schema(config: type[Config]) -> Mapping[str, Any]:
    try:
        return config.model_json_schema()
    except PydanticInvalidForJsonSchema:  # An exotic type: we then say what pydantic says.
        return {}


def _real_path(loc: Sequence[str | int], values: Any, *, is_missing: bool) -> KeyPath:
    """`loc` without the tags by which pydantic tells apart the branches of a union."""
    path: list[str | int] = []
    node = values
    for key in loc:
        if _has(node, key):
            path.append(key)
            node = node[key]
    return (*path, loc[-1]) if is_missing else tuple(path)


def _has(node: Any, key: str | int) -> bool:
    if isinstance(node, Mapping):
        return key in node
    return isinstance(node, tuple) and isinstance(key, int) and 0 <= key < len(node)


def _mistake(item: Any, path: KeyPath, schema: Mapping[str, Any], values: Any) -> Mistake:
    definitions = schema.get("$defs", {})
    if item["type"] == "extra_forbidden":
        table = _schema_at(schema, path[:-1], definitions) or {}
        known = [key for branch in _branches(table, definitions) for key in branch.get("properties", ())]
        return Mistake(path, "unknown key", hint=unknown_key_hint(str(path[-1]), known))
    found_schema = _schema_at(schema, path, definitions)
    expected = type_words(found_schema, definitions) if found_schema is not None else None
    if item["type"] == "missing":
        return Mistake(path, "missing key", expected, missing=True)
    if item["type"] in ("value_error", "assertion_error"):
        return Mistake(path, str(item["ctx"]["error"]), found=value_words(_at(values, path)))
    message = "wrong type" if _is_of_another_type(item) else "wrong value"
    found = _at(values, path)
    hint = did_you_mean(found, (found_schema or {}).get("enum", ())) if isinstance(found, str) else None
    return Mistake(path, message, expected or str(item["msg"]), value_words(found), hint)


def unknown_key_hint(key: str, known: Iterable[str]) -> str | None:
    """The nearest valid key, or all of them where none is near."""
    names = list(known)
    return did_you_mean(key, names) or (f"known keys: {', '.join(names)}" if names else None)


def _at(values: Any, path: KeyPath) -> Any:
    for key in path:
        values = values[key]
    return values


def _schema_at(schema: Mapping[str, Any], path: KeyPath, definitions: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The schema of the value at `path`; None where it says nothing."""
    for branch in _branches(schema, definitions):
        if not path:
            return schema
        inner = _child(branch, path[0])
        if inner is not None and (found := _schema_at(inner, path[1:], definitions)) is not None:
            return found
    return None


def _branches(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if "$ref" in schema:
        yield from _branches(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    elif branches := alternatives(schema):
        for branch in branches:
            yield from _branches(branch, definitions)
    else:
        yield schema


def _child(schema: Mapping[str, Any], key: str | int) -> Mapping[str, Any] | None:
    if isinstance(key, int):
        fixed = schema.get("prefixItems", ())
        child = fixed[key] if key < len(fixed) else schema.get("items")
    else:
        child = schema.get("properties", {}).get(key, schema.get("additionalProperties"))
    return child if isinstance(child, Mapping) else None
