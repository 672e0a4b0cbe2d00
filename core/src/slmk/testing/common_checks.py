"""Checks of the promises that components of every kind make, one function per promise."""

from __future__ import annotations

import math
import re
import tomllib
from functools import cache

import tomli_w
from pydantic import ValidationError

from slmk.cli.field_docs import field_docs
from slmk.discovery import component_fault
from slmk.registry import install_command, missing_modules
from slmk.spec.values import to_tuples
from slmk.testing.imports import private_imports, sources_of
from slmk.testing.processes import call_alone, call_beside_torch
from slmk.testing.side_effects import LightImport, import_alone
from slmk.testing.subject import Skip, Subject

__all__ = [
    "COMMON_CHECKS",
    "check_component",
    "check_config_documented",
    "check_config_round_trip",
    "check_config_strict",
    "check_import_is_light",
    "check_no_side_effects",
    "check_public_names_only",
]

SECONDS = 0.05
"""CPU time that importing a plugin module may take, on top of the kernel."""
HEAVY = frozenset({"torch", "numpy", "gymnasium", "jax", "tensorflow", "scipy", "pandas", "matplotlib"})
"""Packages that listing and checking must never import."""
_ATTEMPTS = 3


def check_component(subject: Subject) -> None:
    """The record is complete: a name that a spec can use, a line for `slmk plugins`, a target that can be imported."""
    component = subject.component
    fault = component_fault(subject.kind, component)
    assert not fault, fault
    assert re.fullmatch(r"[a-z][a-z0-9_-]*", component.name), (
        f"the name {component.name!r} should be lower case: letters, digits, _ or -, a letter first"
    )
    assert component.summary.strip(), "the summary is empty; say in one line what it is"
    assert "\n" not in component.summary, "the summary has more than one line"
    assert len(component.summary) <= 100, f"the summary has {len(component.summary)} characters; 100 fit in a line"
    missing = missing_modules(component)
    if missing:
        raise Skip(f"it needs {', '.join(missing)}: {install_command(component)}")
    assert callable(subject.target()), f"the target {component.target} cannot be called"


def check_config_documented(subject: Subject) -> None:
    """The config has a docstring, and every option a string literal below it."""
    config = subject.component.config
    assert config.__dict__.get("__doc__"), f"{config.__name__} has no docstring"
    docs = field_docs(config)
    undocumented = [name for name in config.model_fields if not docs.get(name, "").strip()]
    assert not undocumented, (
        f"{config.__name__} does not document {', '.join(undocumented)}: put a string literal below it"
    )


def check_config_round_trip(subject: Subject) -> None:
    """The options survive TOML: what a run writes down is what it reads back."""
    config = subject.config()
    table = {key: value for key, value in config.model_dump(mode="json").items() if value is not None}
    try:
        read = type(config).model_validate(to_tuples(tomllib.loads(tomli_w.dumps(table))))
    except (ValidationError, TypeError) as error:
        raise AssertionError(f"what {config!r} becomes in TOML is not accepted: {error}") from error
    assert read == config, f"{config!r} becomes {read!r} on its way through TOML"


def check_config_strict(subject: Subject) -> None:
    """An unknown key is an error, so is a value that no JSON holds by default, and options cannot be changed."""
    config = subject.config()
    unknown = {**subject.options, "no_such_option_of_anybody": 1}
    try:
        type(config).model_validate(to_tuples(unknown))
    except ValidationError:
        pass
    else:
        raise AssertionError(f"{type(config).__name__} accepts unknown keys; do not change its model_config")
    assert type(config).model_config.get("frozen"), f"{type(config).__name__} is not frozen"
    infinite = [key for key, value in config if isinstance(value, float) and not math.isfinite(value)]
    assert not infinite, f"the default of {', '.join(infinite)} is not finite: result files cannot hold it"


def check_import_is_light(subject: Subject) -> str:
    """The plugin module imports in under 50 ms beside the kernel, and neither torch nor a simulator with it."""
    told = _imported(_plugin_module(subject))
    heavy = sorted(HEAVY & {name.partition(".")[0] for name in told["modules"]})
    assert not heavy, f"importing {_plugin_module(subject)} imports {', '.join(heavy)}; only its target may"
    # Time is noisy on a busy machine: the best of a few counts.
    seconds = told["seconds"]
    for _ in range(_ATTEMPTS - 1):
        if seconds <= SECONDS:
            break
        seconds = min(seconds, import_alone(_plugin_module(subject))["seconds"])
    assert seconds <= SECONDS, f"importing {_plugin_module(subject)} takes {seconds * 1000:.0f} ms of CPU, expected 50"
    return f"{seconds * 1000:.0f} ms"


def check_no_side_effects(subject: Subject) -> None:
    """Neither importing nor building nor using it once changes what the whole process shares."""
    module = _plugin_module(subject)
    subject.config()
    changed = _imported(module)["changes"]
    assert not changed, f"importing {module} changes {', '.join(changed)}"
    # The order of imports may matter to simulators: they get an interpreter in which nothing was imported.
    call = call_alone if subject.kind == "env" else call_beside_torch
    given = {name: getattr(subject, name) for name in ("options", "sections", "learning", "learning_steps")}
    function = "slmk.testing.side_effects:changes_of_use"
    changed = call(function, subject.kind, subject.component.name, module, given)
    assert not changed, f"building and using it once changes {', '.join(changed)}"


def check_public_names_only(subject: Subject) -> None:
    """Of the kernel only public names are imported, which stay until the next version of the contract."""
    modules = {subject.component.config.__module__, subject.component.target.partition(":")[0]}
    if any(module.startswith("slmk.") for module in modules):
        raise Skip("it is part of the kernel")
    files = {path for module in modules for path in sources_of(module)}
    found = sorted(name for path in files for name in private_imports(path))
    assert not found, "imports what is not public: " + ", ".join(found)


def _plugin_module(subject: Subject) -> str:
    """The module that the entry point names; by convention the one that has the config."""
    return subject.component.config.__module__


@cache
def _imported(module: str) -> LightImport:
    top = module.partition(".")[0]
    try:
        if top != "__main__":
            return import_alone(module)
    except RuntimeError as error:
        if f"No module named '{top}'" not in str(error):
            raise
    raise Skip(f"the module {module} cannot be imported by name in another process")


COMMON_CHECKS = (
    check_component,
    check_config_documented,
    check_config_round_trip,
    check_config_strict,
    check_public_names_only,
    check_import_is_light,
    check_no_side_effects,
)
"""All of these checks. They take any component."""
