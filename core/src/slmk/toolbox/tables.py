"""Nested tables by dotted keys, as specs write them. Imports no torch, so that configs may use it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["flattened"]


def flattened(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of nested tables by dotted key; an empty table has none. Every key gets `prefix`."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= flattened(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
