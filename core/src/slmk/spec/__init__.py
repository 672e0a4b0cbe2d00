"""The spec: one TOML file that describes one experiment, checked as a whole before anything is built or written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from slmk.errors import PluginError, Problem, SpecError
from slmk.registry import Registry, get_registry
from slmk.spec.assemble import assemble, assemble_policy
from slmk.spec.blueprint import Blueprint, Part, PolicyBlueprint
from slmk.spec.diagnostics import Diagnostics
from slmk.spec.document import Document, from_mapping, read
from slmk.spec.overrides import apply

__all__ = ["Blueprint", "Part", "PolicyBlueprint", "load", "load_policy_sections"]

_POLICY_SECTIONS = ("run", "algorithm", "network", "normalizer")


def load(
    source: str | Path | Mapping[str, Any],
    overrides: Sequence[str] = (),
    registry: Registry | None = None,
) -> Blueprint:
    """Read a spec and check all of it. Nothing is written and no component's target is imported.

    Args:
        source: the path of a TOML file, or its content as a mapping (paths in it are relative to the working
            directory).
        overrides: ``"path=value"`` each, set over what the file says.
        registry: where components are looked up; the installed plugins by default.

    Raises:
        SpecError: the spec is wrong; the error lists every mistake with its file and line.
        PluginError: the spec is right, but a plugin that it asks for is broken.
    """
    document, problems = _read(source)
    whole = not problems
    document = apply(document, overrides, problems)
    diagnostics = Diagnostics(document, whole=whole)
    diagnostics.problems.extend(problems)
    stem, directory = ("spec", Path.cwd()) if isinstance(source, Mapping) else _split(Path(source))
    blueprint = assemble(document, registry or get_registry(), diagnostics, stem)
    if blueprint is None:
        raise _error(diagnostics)
    return replace(blueprint, text=document.text, directory=directory)


def load_policy_sections(sections: Mapping[str, Any], registry: Registry | None = None) -> PolicyBlueprint:
    """Check what `PolicyBlueprint.policy_sections` stored in a checkpoint.

    Only these sections are read. Plugin files in particular are not: a checkpoint that was downloaded runs no code.

    Raises:
        SpecError: the sections are wrong, or a plugin that they name is not installed.
        PluginError: a plugin that they name is broken.
    """
    document, _ = _read({name: sections[name] for name in _POLICY_SECTIONS if name in sections})
    diagnostics = Diagnostics(document)
    blueprint = assemble_policy(document, registry or get_registry(), diagnostics)
    if blueprint is None:
        raise _error(diagnostics)
    return blueprint


def _read(source: str | Path | Mapping[str, Any]) -> tuple[Document, list[Problem]]:
    """A document, and what is wrong with the files that it extends: all else in it can be checked nevertheless."""
    problems: list[Problem] = []
    document = from_mapping(source, problems) if isinstance(source, Mapping) else read(Path(source), problems)
    if any(problem.path != "extends" for problem in problems):
        raise SpecError(problems)  # What could not be read would only bring follow-on problems.
    return document, problems


def _split(path: Path) -> tuple[str, Path]:
    return path.stem, path.absolute().parent


def _error(diagnostics: Diagnostics) -> SpecError | PluginError:
    error = SpecError(diagnostics.problems)
    blame_plugins = diagnostics.plugin_faults.issuperset(diagnostics.problems)
    return PluginError(str(error)) if blame_plugins else error
