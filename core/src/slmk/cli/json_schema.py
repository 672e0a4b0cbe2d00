"""The JSON Schema of specs with the components that are installed, for editors that complete and check TOML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from slmk.cli.field_docs import field_docs
from slmk.component import KINDS, Component, Kind
from slmk.config import Config, RunConfig, TargetConfig
from slmk.discovery import failure
from slmk.errors import PluginError
from slmk.registry import Registry

__all__ = ["config_schema", "spec_schema"]

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_PATHS: Final = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}


class _Documented(GenerateJsonSchema):
    """Puts the documentation of fields into the schema of every model."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        result = super().model_schema(schema)
        docs = field_docs(schema["cls"])
        for name, field in result.get("properties", {}).items():
            field.pop("title", None)
            if name in docs:
                field.setdefault("description", docs[name])
        return result


def config_schema(config: type[Config]) -> dict[str, Any]:
    """The JSON Schema of options, with the documentation of each field as its description.

    Raises:
        PluginError: a field has a type of which pydantic cannot make a schema.
    """
    try:
        return config.model_json_schema(schema_generator=_Documented)
    except Exception as error:
        reason, _ = failure(error)
        raise PluginError(f"there is no schema of {config.__module__}.{config.__qualname__}: {reason}") from error


def spec_schema(registry: Registry) -> dict[str, Any]:
    """The JSON Schema of a whole spec. In each component's table the key ``name`` says which options there are."""
    definitions: dict[str, Any] = {}
    sections = {kind.section: _section(kind, registry, definitions) for kind in KINDS.values()}
    return {
        "$schema": _DIALECT,
        "title": "slmk spec",
        "description": "One experiment: what is run, in which environment, by which algorithm.",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "name": {"type": "string", "description": "What the experiment is called; the file's stem by default."},
            "extends": {**_PATHS, "description": "Specs that this one changes, relative to this file."},
            "plugins": {**_PATHS, "description": "Python files with plugins, relative to this file."},
            "run": _embed("run", config_schema(RunConfig), definitions),
            **sections,
            "target": _embed("target", config_schema(TargetConfig), definitions),
        },
        "$defs": definitions,
    }


def _section(kind: Kind, registry: Registry, definitions: dict[str, Any]) -> dict[str, Any]:
    choice = _choice(kind.name, registry, definitions)
    if kind.form == "by role":
        description = f"{kind.word.capitalize()}s by role."
        return {"type": "object", "description": description, "additionalProperties": choice}
    return {"type": "array", "items": choice} if kind.form == "list" else choice


def _choice(kind: str, registry: Registry, definitions: dict[str, Any]) -> dict[str, Any]:
    found = (registry.find(kind, name) for name in registry.names(kind))
    components = [component for component in found if isinstance(component, Component)]
    branches = [_component_schema(kind, component, definitions) for component in components]
    choice = {"type": "object", "discriminator": {"propertyName": "name"}}
    return {**choice, "anyOf": branches} if branches else choice


def _component_schema(kind: str, component: Component, definitions: dict[str, Any]) -> dict[str, Any]:
    try:
        options = config_schema(component.config)
    except PluginError:
        options = {"type": "object"}  # Any.
    schema = _embed(f"{kind}-{component.name}", options, definitions)
    name = {"const": component.name, "description": component.summary}
    return {
        **schema,
        "title": component.name,
        "properties": {"name": name, **schema.get("properties", {})},
    }


def _embed(prefix: str, schema: Mapping[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """`schema` with its own definitions moved into the common ones, under names that begin with `prefix`."""
    inner = schema.get("$defs", {})
    names = {f"#/$defs/{name}": f"#/$defs/{prefix}-{name}" for name in inner}
    definitions.update({f"{prefix}-{name}": _renamed(value, names) for name, value in inner.items()})
    # No key is required here, for a spec may leave any of them to the one it extends.
    kept = {key: value for key, value in schema.items() if key not in ("$defs", "required")}
    renamed: dict[str, Any] = _renamed(kept, names)
    return renamed


def _renamed(node: Any, names: Mapping[str, str]) -> Any:
    if isinstance(node, Mapping):
        return {
            key: names.get(value, value) if key == "$ref" else _renamed(value, names) for key, value in node.items()
        }
    return [_renamed(item, names) for item in node] if isinstance(node, list) else node
