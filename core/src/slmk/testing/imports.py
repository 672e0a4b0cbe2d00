"""Reading from source which names of the kernel a plugin imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

import slmk

__all__ = ["DOCUMENTED_MODULES", "private_imports", "sources_of"]

DOCUMENTED_MODULES = (
    "slmk.batch",
    "slmk.builtin.jsonl",
    "slmk.compilation",
    "slmk.component",
    "slmk.config",
    "slmk.cores",
    "slmk.env_info",
    "slmk.errors",
    "slmk.files",
    "slmk.findings",
    "slmk.hookspecs",
    "slmk.job",
    "slmk.metrics",
    "slmk.policy",
    "slmk.protocols",
    "slmk.run_directory",
    "slmk.statistics",
    "slmk.testing",
    "slmk.toolbox",
    "slmk.windows",
    "slmk.world",
)
"""Modules that plugins may import from, besides `slmk` itself, with the modules below them.

They are part of the contract: the suite (`slmk check-plugin`) refuses imports of anything else of the kernel, and of
names that begin with an underscore. The public names of `slmk` itself are in ``slmk.__all__``.
"""


def sources_of(module: str) -> list[Path]:
    """The files of the package that a module belongs to, without tests; of a module without a package its own file."""
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        spec = _find(".".join(parts[:depth]))
        if spec is None or not (spec.origin or "").endswith(".py"):
            continue  # A namespace: it has no file of its own, and may hold what is not the plugin's.
        folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
        below = [path for folder in folders for path in sorted(folder.rglob("*.py")) if "tests" not in path.parts]
        return below or [Path(str(spec.origin))]
    return []


def _find(name: str) -> ModuleSpec | None:
    try:
        return find_spec(name)
    except (ImportError, ValueError):
        return None


def private_imports(path: Path) -> Iterator[str]:
    """Each import of something of the kernel that is not public, with file and line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for name in _imported(node):
            if not _is_public(name):
                yield f"{path.name}:{node.lineno}: {name}"  # type: ignore[attr-defined]


def _imported(node: ast.AST) -> Iterator[str]:
    """Dotted names: ``slmk.x.y`` for ``from slmk.x import y``."""
    match node:
        case ast.Import(names=names):
            yield from (alias.name for alias in names)
        case ast.ImportFrom(module=str(module), names=names, level=0):
            yield from (f"{module}.{alias.name}" for alias in names)


def _is_public(name: str) -> bool:
    if name != "slmk" and not name.startswith("slmk."):
        return True
    if any(part.startswith("_") for part in name.split(".")):
        return False
    inside = any(name == module or name.startswith(f"{module}.") for module in DOCUMENTED_MODULES)
    return name == "slmk" or inside or name.removeprefix("slmk.") in slmk.__all__
