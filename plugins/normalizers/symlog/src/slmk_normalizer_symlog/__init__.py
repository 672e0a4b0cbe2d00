"""Symmetric logarithm: options and registration."""

from __future__ import annotations

from collections.abc import Iterable

from slmk import Component, NormalizerConfig, hookimpl

__all__ = ["SymlogConfig"]


class SymlogConfig(NormalizerConfig):
    """``symlog`` has no options and no statistics."""


@hookimpl
def slmk_normalizers() -> Iterable[Component]:
    """Offer ``symlog``."""
    return [Component("symlog", SymlogConfig, "slmk_normalizer_symlog.symlog:Symlog", "symmetric logarithm")]
