"""Which components there are: looked up by kind and name, with the health of each plugin."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, Literal

from slmk import discovery
from slmk.component import KINDS, Component
from slmk.discovery import Plugin, component_fault
from slmk.errors import PluginError, Problem, SpecError, did_you_mean
from slmk.hookspecs import PROJECT

if TYPE_CHECKING:
    import click

    from slmk.findings import Check

__all__ = ["FIRST_PARTY", "FIRST_PARTY_COMMANDS", "Registry", "Row", "Unavailable", "get_registry"]

FIRST_PARTY: Final[dict[str, tuple[str, ...]]] = {
    "env": ("gymnasium", "envpool", "playground", "mjlab", "isaaclab"),
    "algo": ("random", "reinforce", "sarsa", "dqn", "a2c", "ppo", "ppo_brax", "sil", "sac", "crossq", "rlpd"),
    "net": ("conv", "mlp", "recurrent"),
    "memory": ("rollout", "replay", "prioritized", "mixed"),
    "normalizer": ("percentile", "symlog"),
    "reporter": ("tensorboard", "report"),
    "launcher": (),
}
"""Names by kind that a distribution ``slmk-<kind>-<name>`` of this project provides, installed or not."""
FIRST_PARTY_COMMANDS: Final = {"export": "slmk-exporter-onnx", "report": "slmk-reporter-report"}
"""Commands by name that a distribution of this project provides, installed or not."""


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Why a component cannot be had."""

    message: str
    hint: str | None = None
    broken: bool = False
    """Whether a plugin is at fault, rather than the name."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of ``slmk plugins``."""

    kind: str
    name: str
    distribution: str
    version: str
    health: Literal["ok", "needs", "broken", "conflict"]
    summary: str
    """What it is, or why it cannot be used."""
    hint: str | None = None


class Registry:
    """Components by kind and name. Immutable; errors belong to those who ask for what is broken."""

    def __init__(self, plugins: Iterable[Plugin]) -> None:
        self._plugins = tuple(plugins)
        self._offers: dict[tuple[str, str], list[tuple[Plugin, Component]]] = {}
        for plugin in self._plugins:
            for kind, component in plugin.components:
                offers = self._offers.setdefault((kind, component.name), [])
                if all(component != other for _, other in offers):  # The same record twice is no conflict.
                    offers.append((plugin, component))

    @classmethod
    def discover(cls) -> Registry:
        """Every installed plugin, found through entry points."""
        return cls(discovery.installed())

    @classmethod
    def from_modules(cls, modules: Iterable[Any]) -> Registry:
        """Just these modules (or objects with hook implementations), for tests and for plugins without a package."""
        return cls(map(discovery.from_module, modules))

    def extended(self, plugins: Iterable[Plugin]) -> Registry:
        """This registry and further plugins, such as `slmk.discovery.from_file` loads."""
        return Registry((*self._plugins, *plugins))

    def names(self, kind: str) -> list[str]:
        """Names of the components of a kind, broken ones included."""
        return sorted(name for offered, name in self._offers if offered == kind)

    def find(self, kind: str, name: str) -> Component | Unavailable:
        """The component, or the reason why there is none. `kind` is a key of `slmk.component.KINDS`."""
        offers = self._offers.get((kind, name), [])
        if len(offers) > 1:
            owners, hint = _conflict([plugin.distribution for plugin, _ in offers])
            return Unavailable(f"{KINDS[kind].word} '{name}' is claimed by {owners}", hint, broken=True)
        for plugin, component in offers:
            fault = component_fault(kind, component)
            return _broken(plugin, fault, f"upgrade '{plugin.distribution}'") if fault else component
        return self._unknown(kind, name)

    def _unknown(self, kind: str, name: str) -> Unavailable:
        for plugin in self._plugins:
            if plugin.fault and _announces(plugin, kind, name):
                return _broken(plugin, plugin.fault, plugin.hint)
        if name in FIRST_PARTY[kind]:
            command = f"pip install {_distribution(kind, name)}"
            return Unavailable(f"{KINDS[kind].word} '{name}' is not installed", command)
        known = self.names(kind)
        hint = did_you_mean(name, {*known, *FIRST_PARTY[kind]}) or f"installed: {', '.join(known) or 'none'}"
        if any(plugin.fault for plugin in self._plugins):
            hint += "; some plugin is broken, see `slmk plugins`"
        return Unavailable(f"no {KINDS[kind].word} is called '{name}'", hint)

    def component(self, kind: str, name: str) -> Component:
        """The component.

        Raises:
            SpecError: no plugin offers the name.
            PluginError: the plugin that does is broken, or two claim the name.
        """
        found = self.find(kind, name)
        if isinstance(found, Component):
            return found
        problem = Problem(found.message, hint=found.hint)
        raise PluginError(str(problem)) if found.broken else SpecError([problem])

    @staticmethod
    def load(component: Component) -> Any:
        """Import what the component's target names.

        Raises:
            PluginError: it cannot be imported; the message says why and what to install.
        """
        module, _, attribute = component.target.partition(":")
        try:
            return getattr(import_module(module), attribute)
        except Exception as error:
            reason, hint = discovery.failure(error)
            if isinstance(error, ImportError) and component.install:
                hint = install_command(component)
            problem = Problem(f"'{component.name}' cannot be imported from '{component.target}': {reason}", hint=hint)
            raise PluginError(str(problem)) from error

    def rows(self) -> list[Row]:
        """One row for each component, and one for each plugin that cannot be loaded; sorted by kind and name."""
        broken = (_broken_row(plugin) for plugin in self._plugins if plugin.fault)
        order = {kind: place for place, kind in enumerate(KINDS)}
        return sorted((*self._component_rows(), *broken), key=lambda row: (order.get(row.kind, 99), row.name))

    def _component_rows(self) -> Iterator[Row]:
        for (kind, name), offers in self._offers.items():
            found = self.find(kind, name)
            for plugin, component in offers:
                row = (kind, name, plugin.distribution, plugin.version)
                if isinstance(found, Unavailable):
                    yield Row(*row, "conflict" if len(offers) > 1 else "broken", found.message, found.hint)
                elif lacking := missing_modules(component):
                    reason = f"needs the module {', '.join(lacking)}"
                    yield Row(*row, "needs", reason, install_command(component))
                else:
                    yield Row(*row, "ok", component.summary)

    def distribution_of(self, component: Component) -> str:
        """The name of the distribution that offers a component, or the path of the file; empty where none does."""
        offers = ((plugin, offered) for plugin in self._plugins for _, offered in plugin.components)
        return next((plugin.distribution for plugin, offered in offers if offered == component), "")

    def commands(self) -> dict[str, click.Command]:
        """Commands that plugins add to ``slmk``, by name. Of two with one name the first plugin's counts."""
        offered = [command for plugin in self._plugins for command in plugin.commands]
        return {str(command.name): command for command in reversed(offered)}

    def checks(self) -> list[Check]:
        """Checks of the machine that plugins add to ``slmk doctor``."""
        return [check for plugin in self._plugins for check in plugin.checks]


@cache
def get_registry() -> Registry:
    """The installed plugins, found once per process."""
    return Registry.discover()


def missing_modules(component: Component) -> list[str]:
    """Which of `Component.requires` are not installed. Nothing is imported; of ``a.b`` only ``a`` is looked up."""
    return [module for module in component.requires if not _is_installed(module.partition(".")[0])]


def install_command(component: Component) -> str:
    """The command that installs what `Component.requires` lists, and what to mind."""
    wanted = (component.install,) if component.install else component.requires
    command = " ".join(["pip install", *(f"'{item}'" if "[" in item else item for item in wanted)])
    return f"{command} ({component.install_note})" if component.install_note else command


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _distribution(kind: str, name: str) -> str:
    return f"slmk-{kind}-{name}".replace("_", "-")


def _broken(plugin: Plugin, fault: str, hint: str | None) -> Unavailable:
    return Unavailable(f"the plugin '{plugin.distribution}' is broken: {fault}", hint, broken=True)


def _conflict(distributions: Sequence[str]) -> tuple[str, str]:
    """Who claims one name, and what to do about it."""
    owners = list(dict.fromkeys(distributions))
    others = [owner for owner in owners if owner.partition(".")[0] != PROJECT]
    words = " and ".join(f"'{owner}'" for owner in owners)
    if len(owners) == 1:
        return f"{len(distributions)} components of {words}", "each needs a name of its own"
    if len(others) == len(owners):
        return words, "uninstall one of them"
    theirs = " and ".join(f"'{owner}'" for owner in others)
    return words, f"slmk itself needs the name: uninstall {theirs}, or give the component another name there"


def _announces(plugin: Plugin, kind: str, name: str) -> bool:
    """Whether the entry point's name says that the plugin offers this component."""
    entry = plugin.name.replace("_", "-")
    return entry in (name.replace("_", "-"), f"{kind}-{name}".replace("_", "-"))


def _broken_row(plugin: Plugin) -> Row:
    kind, _, name = plugin.name.partition("-")
    if kind not in KINDS or not name:
        kind, name = "?", plugin.name
    return Row(kind, name, plugin.distribution, plugin.version, "broken", plugin.fault, plugin.hint)
