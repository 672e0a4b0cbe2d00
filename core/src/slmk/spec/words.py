"""Types and values in the words of a spec's author, from JSON Schema rather than from Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["alternatives", "type_words", "value_words"]

_TYPES = {
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "object": "a table",
}
_BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
    "multipleOf": "a multiple of",
    "pattern": "matching",
}
_LONGEST = 60


def type_words(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """What a JSON schema asks for, such as ``an integer above 0``.

    Args:
        schema: the schema of one value.
        definitions: what its ``$ref`` refer to, by name.
    """
    if "$ref" in schema:
        return type_words(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if branches := alternatives(schema):
        words = [type_words(branch, definitions) for branch in branches if branch.get("type") != "null"]
        return " or ".join(dict.fromkeys(words))
    if "enum" in schema or "const" in schema:
        return " or ".join(value_literal(value) for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return _array_words(schema, definitions)
    if schema.get("properties"):
        return f"a table of {', '.join(schema['properties'])}"
    return _TYPES.get(schema.get("type", ""), "any value") + _bounds(schema)


def _array_words(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    if "prefixItems" in schema:
        items = ", ".join(type_words(item, definitions) for item in schema["prefixItems"])
        return f"a list of exactly {items}"
    item = schema.get("items") or {}
    fewest, most = schema.get("minItems"), schema.get("maxItems")
    size = "".join((f" at least {fewest}" if fewest else "", f" at most {most}" if most is not None else ""))
    return f"a list of{size} values, each {type_words(item, definitions)}" if item else f"a list of{size} values"


def _bounds(schema: Mapping[str, Any]) -> str:
    bounds = [f"{word} {schema[key]}" for key, word in _BOUNDS.items() if key in schema]
    return " " + " and ".join(bounds) if bounds else ""


def value_words(value: Any) -> str:
    """What a value is, such as ``the string 'abc'`` or ``a list``."""
    match value:
        case bool():
            return value_literal(value)
        case str():
            return f"the string {_shorten(repr(value))}"
        case int() | float():
            return f"the {'integer' if isinstance(value, int) else 'number'} {_shorten(repr(value))}"
        case list() | tuple():
            return "a list" if value else "an empty list"
        case Mapping():
            return "a table" if value else "an empty table"
    return f"a {type(value).__name__}"


def value_literal(value: Any) -> str:
    """A value as it is written in TOML, roughly."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return repr(value)
        case list() | tuple():
            return "[" + ", ".join(value_literal(item) for item in value) + "]"
        case Mapping():
            return "{ " + ", ".join(f"{key} = {value_literal(item)}" for key, item in value.items()) + " }"
    return str(value)


def _shorten(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def alternatives(schema: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The schemas one of which a value has to fit; empty where there is no choice."""
    return schema.get("anyOf") or schema.get("oneOf") or ()
