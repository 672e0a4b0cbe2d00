"""What a contract check is given: one component, its options, and a registry that has the toys beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from pydantic import ValidationError

from slmk.component import KINDS, Component
from slmk.config import Config
from slmk.discovery import from_module
from slmk.registry import Registry, get_registry
from slmk.spec.values import to_tuples

__all__ = ["Skip", "Subject", "with_toys"]

_TOYS = ("slmk.builtin", "slmk.testing.toy_envs", "slmk.testing.toy_parts", "slmk.testing.probe")


class Skip(Exception):
    """Raised by a check that does not apply; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One component under test. Everything but what it is has a default that fits most components."""

    kind: str
    """A key of `slmk.component.KINDS`."""
    component: Component
    registry: Registry
    """Where other parts come from; always has the toys of `slmk.testing`."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the component, as a spec would state them."""
    sections: Mapping[str, Any] = field(default_factory=dict)
    """Algorithms: sections of a spec that replace the toy ones, such as ``memory`` or ``network``."""
    learning: Mapping[str, Any] = field(default_factory=dict)
    """Algorithms: further options for the tasks that have to be learned."""
    learning_steps: int = 30_000
    """Algorithms: environment steps within which a toy task has to be learned; values get four times as many."""

    @classmethod
    def find(cls, kind: str, name: str, registry: Registry | None = None, **given: Any) -> Subject:
        """Look the component up.

        Args:
            kind: a key of `slmk.component.KINDS`, such as ``algo``.
            name: the component's name in a spec.
            registry: where to look; the installed plugins by default.
            given: any of the fields from `options` on.

        Raises:
            ValueError: there is no such kind.
            SpecError: no plugin offers the name.
            PluginError: the plugin that does is broken.
        """
        if kind not in KINDS:
            raise ValueError(f"no kind is called {kind!r}; expected one of {', '.join(KINDS)}")
        registry = with_toys(registry or get_registry())
        return cls(kind=kind, component=registry.component(kind, name), registry=registry, **given)

    def config(self, **changes: Any) -> Config:
        """The component's options, `changes` among them, validated.

        Raises:
            AssertionError: an option is wrong, or one that has no default is not given.
        """
        try:
            return self.component.config.model_validate(to_tuples({**self.options, **changes}))
        except ValidationError as error:
            mistakes = (f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
            raise AssertionError(f"give the check other options; these are wrong: {'; '.join(mistakes)}") from error

    def target(self) -> Any:
        """What makes the component; imports it."""
        return self.registry.load(self.component)


def with_toys(registry: Registry) -> Registry:
    """A registry that has the toys of `slmk.testing` too, and what the kernel itself offers."""
    return registry.extended(from_module(import_module(module)) for module in _TOYS)
