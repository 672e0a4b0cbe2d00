"""From a tree of values to a blueprint, collecting every mistake on the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from slmk import discovery
from slmk.component import KINDS_BY_SECTION
from slmk.registry import Registry
from slmk.spec.blueprint import DEFAULT, Blueprint, PolicyBlueprint
from slmk.spec.checks import cross_check
from slmk.spec.diagnostics import Diagnostics
from slmk.spec.document import Document, dotted
from slmk.spec.explain import unknown_key_hint
from slmk.spec.lines import KeyPath
from slmk.spec.sections import SectionReader, Sections
from slmk.spec.values import value_problems
from slmk.spec.words import value_words

__all__ = ["KNOWN_KEYS", "assemble", "assemble_policy"]

KNOWN_KEYS: Final = ("name", "extends", "plugins", "run", *KINDS_BY_SECTION, "target")
"""Keys at the top of a spec."""


def assemble(document: Document, registry: Registry, diagnostics: Diagnostics, stem: str) -> Blueprint | None:
    """The blueprint of a document, or None if `diagnostics` has problems afterwards.

    Args:
        document: the merged values.
        registry: where components are looked up, besides the files that the document names under ``plugins``.
        diagnostics: collects what is wrong.
        stem: the experiment's name, unless the document has one.
    """
    registry = _with_plugin_files(document, registry, diagnostics)
    refused = dict(value_problems(document))
    diagnostics.problems.extend(refused.values())
    _check_keys(document.data, diagnostics)
    name = _name(document.data, stem, refused, diagnostics)
    sections = SectionReader(document.data, registry, diagnostics, refused).read()
    cross_check(sections, document.data, registry, diagnostics)
    if diagnostics.problems:
        return None
    blueprint = _blueprint(name, sections, tuple(str(path) for path, _ in document.plugins))
    return replace(blueprint, sources=dict(_sources(blueprint.resolved(), document)))


def assemble_policy(document: Document, registry: Registry, diagnostics: Diagnostics) -> PolicyBlueprint | None:
    """The part of a blueprint that a policy needs, or None if `diagnostics` has problems afterwards."""
    sections = SectionReader(document.data, registry, diagnostics, refused=()).read_policy()
    cross_check(sections, {**document.data, "memory": {}}, registry, diagnostics)
    if diagnostics.problems:
        return None
    assert sections.run
    assert sections.algorithm
    return PolicyBlueprint(
        run=sections.run,
        algorithm=sections.algorithm,
        networks=sections.network,
        normalizers=sections.normalizer,
    )


def _with_plugin_files(document: Document, registry: Registry, diagnostics: Diagnostics) -> Registry:
    plugins = [(discovery.from_file(path), place) for path, place in document.plugins]
    for plugin, place in plugins:
        if plugin.fault:
            problem = place.problem(f"{plugin.distribution} is no plugin: {plugin.fault}", ("plugins",))
            diagnostics.problems.append(replace(problem, hint=plugin.hint))
            if Path(plugin.distribution).is_file():
                diagnostics.plugin_faults.add(diagnostics.problems[-1])
    return registry.extended(plugin for plugin, _ in plugins) if plugins else registry


def _check_keys(data: Mapping[str, Any], diagnostics: Diagnostics) -> None:
    for key, value in data.items():
        if key not in KNOWN_KEYS:
            word = "section" if isinstance(value, Mapping | list) else "key"
            diagnostics.report((key,), f"unknown {word}", hint=unknown_key_hint(key, KNOWN_KEYS))


def _name(data: Mapping[str, Any], stem: str, refused: Mapping[KeyPath, Any], diagnostics: Diagnostics) -> str:
    name = data.get("name", stem)
    if not (isinstance(name, str) and name.strip(". ") and not {"/", "\\", "\0"} & set(name)):
        if ("name",) not in refused:
            expected = "a name that can be that of a folder"
            diagnostics.report(("name",), "wrong value", expected=expected, found=value_words(name))
        return stem
    return name


def _blueprint(name: str, sections: Sections, plugins: tuple[str, ...]) -> Blueprint:
    # These are there whenever there is no problem.
    assert sections.run
    assert sections.env
    assert sections.algorithm
    assert sections.launcher
    return Blueprint(
        name=name,
        run=sections.run,
        env=sections.env,
        algorithm=sections.algorithm,
        memory=sections.memory,
        networks=sections.network,
        normalizers=sections.normalizer,
        reporters=tuple(sections.reporter),
        launcher=sections.launcher,
        target=sections.target,
        plugins=plugins,
    )


def _sources(resolved: Mapping[str, Any], document: Document) -> Iterator[tuple[str, str]]:
    for path in _units({key: value for key, value in resolved.items() if key != "plugins"}, ()):
        yield dotted(path), str(document.place(path)) if _contains(document.data, path) else DEFAULT


def _units(node: Any, path: KeyPath) -> Iterator[KeyPath]:
    """The paths of values, a list of plain values being one."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _units(value, (*path, key))
    elif isinstance(node, list) and node and all(isinstance(item, Mapping) for item in node):
        for index, value in enumerate(node):
            yield from _units(value, (*path, index))
    else:
        yield path


def _contains(node: Any, path: KeyPath) -> bool:
    for key in path:
        known = node if isinstance(node, Mapping) else range(len(node)) if isinstance(node, list) else ()
        if key not in known:
            return False
        node = node[key]
    return True
