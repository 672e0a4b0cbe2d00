"""Plugins build on each other by public names alone, so that each may change what is its own affair."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGES = {path.name: path for path in Path(__file__).parents[1].glob("plugins/*/*/src/slmk_*")}


def imports(package: Path) -> Iterator[tuple[str, str, str]]:
    """Each import of a package of this repository in this one: where, module, and name or '*' for the module itself."""
    for path in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            where = f"{path.name}:{getattr(node, 'lineno', 0)}"
            match node:
                case ast.Import(names=names):
                    yield from ((where, alias.name, "*") for alias in names)
                case ast.ImportFrom(module=str(module), names=names, level=0):
                    yield from ((where, module, alias.name) for alias in names)


def public(package: Path) -> set[str]:
    """What a package lists in ``__all__``, without importing it: it may need a simulator."""
    for node in ast.parse((package / "__init__.py").read_text()).body:
        match node:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
                return set(ast.literal_eval(value))
    return set()


@pytest.mark.parametrize("name", sorted(PACKAGES))
def test_plugins_import_what_other_plugins_list_as_public(name: str) -> None:
    """From another plugin's package come names of its ``__all__``, never from a module within it."""
    wrong = [
        f"{where}: {module}.{what}"
        for where, module, what in imports(PACKAGES[name])
        if (other := module.partition(".")[0]) in PACKAGES.keys() - {name}
        and (module != other or what not in public(PACKAGES[other]))
    ]
    assert not wrong, f"{name} imports what is not public: {', '.join(wrong)}"


def test_there_are_plugins_that_build_on_others() -> None:
    """The test above looks at something."""
    found = {(name, module) for name, path in PACKAGES.items() for _, module, _ in imports(path)}
    assert {("slmk_memory_mixed", "slmk_memory_replay"), ("slmk_env_mjlab", "slmk_env_managed")} <= found
