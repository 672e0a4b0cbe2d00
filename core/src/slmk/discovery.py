"""Loading plugins one by one, so that a broken one is a fact about itself and never disturbs another."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module, metadata
from inspect import get_annotations, isroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, get_args

import pluggy

from slmk import hookspecs
from slmk.component import API, KINDS, Component
from slmk.errors import did_you_mean

if TYPE_CHECKING:
    import click
    from pydantic import TypeAdapter

    from slmk.findings import Check

__all__ = ["Plugin", "announced_commands", "component_fault", "failure", "from_file", "from_module", "installed"]

_TEXTS = ("name", "target", "summary", "install")
"""Fields of a component that are strings."""
_HOOKS = frozenset(name for name in vars(hookspecs) if name.startswith("slmk_"))


@dataclass(frozen=True, slots=True)
class Plugin:
    """One module that implements hooks, with what it offers or the reason why it offers nothing."""

    name: str
    """The entry point's name, by convention ``<kind>-<name>``."""
    distribution: str
    """The distribution it came with, or the path of a file."""
    version: str
    components: tuple[tuple[str, Component], ...] = ()
    """What it offers, as (name of the kind, component)."""
    commands: tuple[click.Command, ...] = ()
    checks: tuple[Check, ...] = ()
    fault: str = ""
    """Why it is broken; empty for a healthy plugin."""
    hint: str | None = None
    """What to do about the fault."""


class _HookError(Exception):
    """A plugin breaks the rules for hooks; the message says how."""


def installed() -> Iterator[Plugin]:
    """Every plugin that an installed distribution announces in the entry-point group ``slmk``, by name."""
    yield from map(_from_entry_point, _entry_points())


def announced_commands() -> dict[str, click.Command]:
    """Commands by name of plugins whose entry point is called ``command-…``.

    ``slmk --help`` lists these without importing every other plugin. `Registry.commands` has those of all plugins.
    """
    announced = (entry for entry in _entry_points() if entry.name.startswith("command-"))
    return {str(command.name): command for entry in announced for command in _from_entry_point(entry).commands}


def _entry_points() -> list[metadata.EntryPoint]:
    return sorted(metadata.entry_points(group=hookspecs.PROJECT), key=lambda entry: entry.name)


def _from_entry_point(entry: metadata.EntryPoint) -> Plugin:
    about = entry.dist.metadata if entry.dist else {"Name": entry.value, "Version": ""}
    return _load(entry.name, about["Name"], about["Version"], entry.load)


def from_module(module: Any) -> Plugin:
    """A module (or any object whose attributes are hook implementations) as a plugin, without an entry point."""
    name = _title(module)
    return _load(name, name, str(getattr(module, "__version__", "")), lambda: module)


def _title(module: object) -> str:
    return str(getattr(module, "__name__", type(module).__name__))


def from_file(path: Path) -> Plugin:
    """A Python file as a plugin.

    Its folder goes to the end of ``sys.path``, so that worker processes find a target ``"<stem>:attribute"`` too.
    """
    return _load(path.stem, str(path), "", lambda: _import_file(path))


def _import_file(path: Path) -> object:
    if not path.is_file():
        raise _HookError(f"there is no file {path}")
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    module = import_module(path.stem)
    origin = getattr(module, "__file__", None)
    if origin is None or Path(origin).resolve() != path.resolve():
        raise _HookError(f"its name '{path.stem}' is that of another module ({origin or 'built in'}); rename the file")
    return module


def _load(name: str, distribution: str, version: str, import_plugin: Callable[[], object]) -> Plugin:
    try:
        components, commands, checks = _call_hooks(import_plugin())
    except _HookError as error:
        return Plugin(name, distribution, version, fault=str(error))
    except (Exception, SystemExit) as error:
        fault, hint = failure(error)
        return Plugin(name, distribution, version, fault=fault, hint=hint)
    return Plugin(name, distribution, version, components, commands, checks)


def failure(error: BaseException) -> tuple[str, str | None]:
    """Why an import or a call failed, in one line, and the command that mends it where that is known."""
    lines = str(error).strip().splitlines()
    reason = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    if isinstance(error, ModuleNotFoundError) and error.name:
        return reason, f"pip install {error.name.partition('.')[0].replace('_', '-')}"
    return reason, None


def _call_hooks(
    module: object,
) -> tuple[tuple[tuple[str, Component], ...], tuple[click.Command, ...], tuple[Check, ...]]:
    """Call every hook of one plugin. It is registered alone, so that its errors and results are its own."""
    manager = _manager()
    _refuse_misspelt_hooks(module, manager)
    try:
        manager.register(module)
        if not manager.get_hookcallers(module):
            raise _HookError(f"it offers nothing: in {_title(module)} no function is marked by @slmk.hookimpl")
        components = tuple(
            (kind.name, component) for kind in KINDS.values() for component in _components(manager, kind.hook)
        )
        return components, tuple(_commands(manager)), tuple(_checks(manager))
    except pluggy.PluginValidationError as error:
        raise _HookError(str(error).replace("\n", "; ")) from error
    finally:
        if manager.is_registered(module):
            manager.unregister(module)


@cache
def _manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    return manager


def _refuse_misspelt_hooks(module: object, manager: pluggy.PluginManager) -> None:
    for name in dir(module):
        if not isroutine(getattr(module, name, None)):
            continue
        options = manager.parse_hookimpl_opts(module, name)
        hook = (options.get("specname") if options else None) or name
        if options and hook not in _HOOKS:
            hint = did_you_mean(hook, _HOOKS) or f"hooks are {', '.join(sorted(_HOOKS))}"
            raise _HookError(f"'{hook}' is not a hook; {hint}")
        if not options and name in _HOOKS:
            raise _HookError(f"'{name}' is not marked as a hook; put @slmk.hookimpl above it")


def _components(manager: pluggy.PluginManager, hook: str) -> Iterator[Component]:
    for component in _results(manager, hook, Component):
        for field, expected in _wrong_fields(component):
            value = getattr(component, field)
            raise _HookError(f"{hook} offers a Component whose {field} is {value!r}, expected {expected}")
        yield component


def _wrong_fields(component: Component) -> Iterator[tuple[str, str]]:
    """Fields of the wrong type, each with the right one; of the config, the kind decides that."""
    for field in _TEXTS:
        if not isinstance(getattr(component, field), str):
            yield field, "a string"
    requires: object = component.requires
    if not (isinstance(requires, tuple) and all(isinstance(module, str) for module in requires)):
        yield "requires", "a tuple of strings"


def _results(manager: pluggy.PluginManager, hook: str, expected: type) -> Iterator[Any]:
    caller = getattr(manager.hook, hook)
    results = caller()  # Without those that are None.
    if caller.get_hookimpls() and not results:
        raise _HookError(f"{hook} must return a list, not None")
    for offered in results:
        if not isinstance(offered, Iterable) or isinstance(offered, str):
            raise _HookError(f"{hook} must return a list, not a {type(offered).__name__}")
        for item in offered:
            if not isinstance(item, expected):
                raise _HookError(f"{hook} must offer {expected.__name__} objects, not a {type(item).__name__}")
            yield item


def _checks(manager: pluggy.PluginManager) -> Iterator[Check]:
    for check in _results(manager, "slmk_checks", object):
        if not callable(check):
            raise _HookError(f"slmk_checks must offer functions, not a {type(check).__name__}")
        yield check


def _commands(manager: pluggy.PluginManager) -> Iterator[click.Command]:
    if manager.hook.slmk_commands.get_hookimpls():
        import click  # Only the command line needs it.

        yield from _results(manager, "slmk_commands", click.Command)


def component_fault(kind: str, component: Component) -> str:
    """How a component breaks the contract; empty if it does not."""
    from slmk import config  # pydantic: `slmk --help` looks for commands in this module and does not need it.

    base, options = getattr(config, KINDS[kind].config), component.config
    if component.api != API:
        return f"it is written for version {component.api} of the plugin contract, and this slmk has version {API}"
    if not (isinstance(options, type) and issubclass(options, base)):
        return f"its config must be a subclass of slmk.{base.__name__}"
    if "name" in options.model_fields:
        return f"{options.__name__} must not have a field 'name': that key chooses the component"
    for name, type_ in _class_variables(base).items():
        if not hasattr(options, name):
            return f"{options.__name__} does not set the class variable '{name}'"
        if fault := _type_fault(getattr(options, name), type_):
            return f"the class variable '{name}' of {options.__name__} is {getattr(options, name)!r}; {fault}"
    if component.target.count(":") != 1:
        return f"its target '{component.target}' is not of the form 'module:attribute'"
    try:
        options.model_rebuild(_parent_namespace_depth=0)
    except Exception as error:
        return f"the types of the fields of {options.__name__} are not all known: {failure(error)[0]}"
    return ""


@cache
def _class_variables(base: type) -> dict[str, TypeAdapter[Any]]:
    """The class variables by which specs are checked, each with the type that it has to have."""
    from pydantic import TypeAdapter

    hints = get_annotations(base, eval_str=True)
    return {
        name: TypeAdapter(get_args(hint)[0])
        for name, hint in hints.items()
        if getattr(hint, "__origin__", None) is ClassVar
    }


def _type_fault(value: object, expected: TypeAdapter[Any]) -> str:
    """What is wrong with a value, in the words of pydantic; empty if nothing is."""
    from pydantic import ValidationError

    try:
        expected.validate_python(value, strict=True)
    except ValidationError as error:
        return error.errors()[0]["msg"].replace("Input", "it", 1)
    return ""
