"""The documentation of options: the string literal under each field, read from the source when somebody asks.

pydantic can do this while it makes a class, for 28 ms a class; here every command would pay, so it is done on demand.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from functools import cache
from itertools import pairwise

from slmk.config import Config

__all__ = ["field_docs"]


def field_docs(config: type[Config]) -> dict[str, str]:
    """What the source says under each field of a config and its bases; nothing where there is no source."""
    docs: dict[str, str] = {}
    for cls in reversed(config.__mro__):
        if issubclass(cls, Config):
            docs |= _class_docs(_file_of(cls), cls.__qualname__)
    return docs


def _file_of(cls: type) -> str:
    return getattr(sys.modules.get(cls.__module__), "__file__", None) or ""


@cache
def _class_docs(file: str, qualified_name: str) -> dict[str, str]:
    try:
        with open(file, encoding="utf-8") as source:
            body = ast.parse(source.read()).body
    except (OSError, SyntaxError, ValueError):
        return {}
    for name in qualified_name.split("."):
        if name != "<locals>":
            body = next((node.body for node in body if _is_named(node, name)), [])  # type: ignore[attr-defined]
    return dict(_documented_fields(body))


def _is_named(node: ast.stmt, name: str) -> bool:
    return isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name


def _documented_fields(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    for field, below in pairwise(body):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                yield name, inspect.cleandoc(text)
