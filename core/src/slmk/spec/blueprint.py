"""A spec that has been checked: every component with its options, frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from slmk.component import Component
from slmk.config import (
    AlgorithmConfig,
    Config,
    EnvConfig,
    LauncherConfig,
    MemoryConfig,
    NetworkConfig,
    NormalizerConfig,
    ReporterConfig,
    RunConfig,
    TargetConfig,
)

__all__ = ["DEFAULT", "Blueprint", "Part", "PolicyBlueprint"]

ConfigT = TypeVar("ConfigT", bound=Config, covariant=True)

DEFAULT = "default"
"""The source of a value that the spec does not state."""


@dataclass(frozen=True, slots=True)
class Part(Generic[ConfigT]):
    """A component that a spec chooses, and its options."""

    component: Component
    config: ConfigT
    """The options, of the type `component.config`, a subclass of the base of its kind."""

    def resolved(self) -> dict[str, Any]:
        """The section of the spec with every value."""
        return {"name": self.component.name, **_plain(self.config)}


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyBlueprint:
    """What is needed to build an algorithm and its networks, once the environment's sizes are known."""

    run: RunConfig
    algorithm: Part[AlgorithmConfig]
    networks: Mapping[str, Part[NetworkConfig]]
    """The network of each role."""
    normalizers: Mapping[str, Part[NormalizerConfig]]
    """The normalizer of each role; ``obs`` means observations."""

    def policy_sections(self) -> dict[str, Any]:
        """These sections as JSON types, for a checkpoint; `slmk.spec.load_policy_sections` is the inverse."""
        return {
            "run": _plain(self.run),
            "algorithm": self.algorithm.resolved(),
            "network": {role: part.resolved() for role, part in self.networks.items()},
            "normalizer": {role: part.resolved() for role, part in self.normalizers.items()},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint(PolicyBlueprint):
    """All that a run needs to know before it is built. Two are equal if they make equal runs."""

    name: str
    """What the experiment is called: the file's stem, unless the spec has a `name`."""
    env: Part[EnvConfig]
    memory: Part[MemoryConfig] | None
    """None where the algorithm needs none and the spec has none."""
    reporters: tuple[Part[ReporterConfig], ...]
    launcher: Part[LauncherConfig]
    target: TargetConfig | None = None
    plugins: tuple[str, ...] = ()
    """Absolute paths of the Python files whose plugins the spec loads."""
    text: str = field(default="", compare=False)
    """The spec's text as it was read."""
    directory: Path = field(default=Path(), compare=False)
    """The folder of the spec, to which other files are relative."""
    sources: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Where each value of `resolved` comes from, by dotted path: ``file:line``, ``-s`` or ``default``."""

    def resolved(self) -> dict[str, Any]:
        """Every value, defaults included, as plain TOML types. Loading it gives an equal blueprint."""
        policy = self.policy_sections()
        sections = {
            "name": self.name,
            "plugins": list(self.plugins),
            "run": policy["run"],
            "env": self.env.resolved(),
            "algorithm": policy["algorithm"],
            "memory": self.memory.resolved() if self.memory else None,
            "network": policy["network"],
            "normalizer": policy["normalizer"],
            "launcher": self.launcher.resolved(),
            "target": _plain(self.target) if self.target else None,
            "reporter": [part.resolved() for part in self.reporters],
        }
        return {key: value for key, value in sections.items() if value}

    def resolved_toml(self) -> str:
        """`resolved` as TOML, each value with a comment that says where it comes from."""
        from slmk.spec.writer import write

        return write(self.resolved(), self.sources)


def _plain(config: Config) -> dict[str, Any]:
    return _without_none(config.model_dump(mode="json"))


def _without_none(table: Mapping[str, Any]) -> dict[str, Any]:
    """TOML has no null: an option that is None is not written, and is None again when it is read."""
    return {
        key: _without_none(value) if isinstance(value, Mapping) else value
        for key, value in table.items()
        if value is not None
    }
