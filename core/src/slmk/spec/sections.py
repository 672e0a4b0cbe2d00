"""The sections of a spec, read one by one into components and their options."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeGuard, TypeVar

from pydantic import ValidationError

from slmk import discovery
from slmk.component import KINDS, Component, Kind
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
from slmk.registry import Registry, Unavailable, install_command, missing_modules
from slmk.spec.blueprint import Part
from slmk.spec.diagnostics import Diagnostics
from slmk.spec.explain import Mistake, explain
from slmk.spec.lines import KeyPath
from slmk.spec.values import to_tuples
from slmk.spec.words import value_words

__all__ = ["SectionReader", "Sections"]

ConfigT = TypeVar("ConfigT", bound=Config)

_DEFAULT_REPORTERS: Final = ("console", "jsonl")
_DEFAULT_LAUNCHER: Final = {"name": "local"}


def _launcher(table: Any) -> Any:
    """The section ``[launcher]``, in which the name may be left out."""
    return {**_DEFAULT_LAUNCHER, **table} if isinstance(table, Mapping) else table


@dataclass(slots=True)
class Sections:
    """What could be read. A section that is absent or has mistakes is None, or is not in its mapping."""

    run: RunConfig | None = None
    target: TargetConfig | None = None
    env: Part[EnvConfig] | None = None
    algorithm: Part[AlgorithmConfig] | None = None
    memory: Part[MemoryConfig] | None = None
    launcher: Part[LauncherConfig] | None = None
    network: dict[str, Part[NetworkConfig]] = field(default_factory=dict)
    normalizer: dict[str, Part[NormalizerConfig]] = field(default_factory=dict)
    reporter: list[Part[ReporterConfig]] = field(default_factory=list)
    chosen: Mapping[KeyPath, Component] = field(default_factory=dict)
    """The component of every section whose name is right, also where its options are not."""

    def parts(self) -> Iterator[tuple[KeyPath, Part[Config]]]:
        """Every component that could be read with its options, and the path of its table."""
        for kind in KINDS.values():
            found: Any = getattr(self, kind.section)
            if kind.form == "by role":
                yield from (((kind.section, role), part) for role, part in found.items())
            elif kind.form == "list":
                yield from (((kind.section, index), part) for index, part in enumerate(found))
            elif found:
                yield (kind.section,), found

    def configs(self) -> dict[str, Any]:
        """The options by section, as `Config.problems` gets them."""
        parts = {"env": self.env, "algorithm": self.algorithm, "memory": self.memory}
        by_section: dict[str, Any] = {name: part.config for name, part in parts.items() if part}
        if self.run:
            by_section["run"] = self.run
        by_section["network"] = {role: part.config for role, part in self.network.items()}
        by_section["normalizer"] = {role: part.config for role, part in self.normalizer.items()}
        return by_section


class SectionReader:
    """Reads the sections of one tree of values."""

    def __init__(
        self, data: Mapping[str, Any], registry: Registry, diagnostics: Diagnostics, refused: Collection[KeyPath]
    ) -> None:
        """Read from `data`; of values whose paths are in `refused` it is known already that they are wrong."""
        self._data = data
        self._registry = registry
        self._report = diagnostics.report
        self._refused = refused
        self._chosen: dict[KeyPath, Component] = {}

    def read(self) -> Sections:
        """All sections that are right in themselves."""
        return Sections(
            run=self._config_section("run", RunConfig, required=True),
            target=self._config_section("target", TargetConfig),
            env=self._required_part(KINDS["env"]),
            algorithm=self._required_part(KINDS["algo"]),
            memory=self._part("memory", ("memory",), self._data.get("memory")),
            launcher=self._part("launcher", ("launcher",), _launcher(self._data.get("launcher", {}))),
            network=self._parts_by_role(KINDS["net"]),
            normalizer=self._parts_by_role(KINDS["normalizer"]),
            reporter=self._reporters(),
            chosen=self._chosen,
        )

    def read_policy(self) -> Sections:
        """Those sections that a policy needs."""
        return Sections(
            run=self._config_section("run", RunConfig, required=True),
            algorithm=self._required_part(KINDS["algo"]),
            network=self._parts_by_role(KINDS["net"]),
            normalizer=self._parts_by_role(KINDS["normalizer"]),
            chosen=self._chosen,
        )

    def _config_section(self, name: str, config: type[ConfigT], *, required: bool = False) -> ConfigT | None:
        if name not in self._data:
            if required:
                self._report((name,), "missing section", absent=True, hint=f"add a table [{name}]")
            return None
        table = self._table((name,), self._data[name])
        return None if table is None else self._config((name,), config, table)

    def _required_part(self, kind: Kind) -> Part[Any] | None:
        section = kind.section
        if section not in self._data:
            names = ", ".join(self._registry.names(kind.name))
            hint = f"add a table {kind.header} with a name; installed: {names or 'none'}"
            self._report((section,), "missing section", absent=True, hint=hint)
        return self._part(kind.name, (section,), self._data.get(section))

    def _parts_by_role(self, kind: Kind) -> dict[str, Part[Any]]:
        section = kind.section
        tables = self._table((section,), self._data.get(section, {}), form=f"tables {kind.header}") or {}
        parts = {role: self._part(kind.name, (section, role), table) for role, table in tables.items()}
        return {role: part for role, part in parts.items() if part}

    def _reporters(self) -> list[Part[ReporterConfig]]:
        tables = self._data.get("reporter", [])
        if not isinstance(tables, list | tuple):
            self._report(("reporter",), "wrong type", expected="tables [[reporter]]", found=value_words(tables))
            return []
        named = {table["name"] for table in tables if isinstance(table, Mapping) and _is_name(table.get("name"))}
        added = [{"name": name} for name in _DEFAULT_REPORTERS if name not in named and self._is_offered(name)]
        parts = (self._part("reporter", ("reporter", i), table) for i, table in enumerate((*tables, *added)))
        return [part for part in parts if part]

    def _is_offered(self, reporter: str) -> bool:
        found = self._registry.find("reporter", reporter)
        return isinstance(found, Component) or found.broken

    def _part(self, kind: str, path: KeyPath, table: Any) -> Part[Any] | None:
        """The component that a table chooses; None if there is no table, or one with mistakes.

        Plugins were found to have configs of the base of their kind, which is the type of the sections' parts.
        """
        values = None if table is None else self._table(path, table)
        component = None if values is None else self._component(kind, path, values)
        if values is None or component is None:
            return None
        self._chosen[path] = component
        config = self._config(path, component.config, {key: value for key, value in values.items() if key != "name"})
        return None if config is None else Part(component, config)

    def _table(self, path: KeyPath, value: Any, form: str = "a table") -> Mapping[str, Any] | None:
        if isinstance(value, Mapping):
            return value
        if path not in self._refused:
            self._report(path, "wrong type", expected=form, found=value_words(value))
        return None

    def _component(self, kind: str, path: KeyPath, values: Mapping[str, Any]) -> Component | None:
        name = values.get("name")
        path = (*path, "name")
        if not _is_name(name):
            self._report_bad_name(kind, path, name)
            return None
        found = self._registry.find(kind, name)
        if isinstance(found, Unavailable):
            self._report(path, found.message, hint=found.hint, broken=found.broken)
            return None
        for module in missing_modules(found):
            self._report(path, f"'{name}' needs the module '{module}'", hint=install_command(found))
        return found

    def _report_bad_name(self, kind: str, path: KeyPath, name: Any) -> None:
        installed = f"one of {', '.join(self._registry.names(kind))}"
        if name is None:
            self._report(path, "missing key", absent=True, expected=installed)
        elif path not in self._refused:
            self._report(path, "wrong type", expected=installed, found=value_words(name))

    def _config(self, path: KeyPath, config: type[ConfigT], table: Mapping[str, Any]) -> ConfigT | None:
        values = to_tuples(table)
        try:
            return config.model_validate(values)
        except ValidationError as error:
            for mistake in explain(error, config, values):
                self._report_mistake(path, mistake)
        except Exception as error:  # A validator of a plugin: its fault is reported like any other.
            reason, _ = discovery.failure(error)
            self._report(path, f"the plugin cannot check its options: {reason}", broken=True)
        return None

    def _report_mistake(self, path: KeyPath, mistake: Mistake) -> None:
        path = (*path, *mistake.path)
        if path not in self._refused:
            self._report(
                path,
                mistake.message,
                absent=mistake.missing,
                expected=mistake.expected,
                found=mistake.found,
                hint=mistake.hint,
            )


def _is_name(value: Any) -> TypeGuard[str]:
    return isinstance(value, str)
