"""What generated pages consist of: Markdown of docstrings, tables, options of components, marked parts of a page."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from typing import Any, Final

from slmk.cli.json_schema import config_schema
from slmk.config import Config
from slmk.registry import FIRST_PARTY, Registry, Row
from slmk.spec.words import type_words, value_literal

HEAD: Final = "<!-- Written by docs/generate.py; change the source of what is described, then run `make docs`. -->\n"
BUILT_IN: Final = "slmk"
_SECTION = re.compile(r"(Args|Returns|Raises):")


def with_part(page: str, name: str, text: str) -> str:
    """`page` with `text` between the markers of that name."""
    begin, end = f"<!-- {name}: begin (written by docs/generate.py) -->\n", f"<!-- {name}: end -->"
    before, rest = page.split(begin)
    return f"{before}{begin}\n{text}\n{rest[rest.index(end) :]}"


def first_party(registry: Registry, kind: str) -> list[Row]:
    """The installed components of a kind that are built in or belong to this repository."""
    return [row for row in registry.rows() if row.kind == kind and _is_first_party(row)]


def _is_first_party(row: Row) -> bool:
    name = f"slmk-{row.kind}-{row.name}".replace("_", "-")
    return row.distribution == BUILT_IN or (row.distribution == name and row.name in FIRST_PARTY[row.kind])


# Options


def options_table(options: type[Config]) -> str:
    """Every option with its type, default and documentation."""
    schema = config_schema(options)
    if not options.model_fields:
        return "It has no options.\n"
    rows = [_option(name, options, schema) for name in options.model_fields]
    return table(("Option", "Type", "Default", "Meaning"), rows)


def _option(name: str, options: type[Config], schema: dict[str, Any]) -> tuple[str, str, str, str]:
    field, option = options.model_fields[name], schema["properties"][name]
    default = "required" if field.is_required() else f"`{value_literal(field.get_default(call_default_factory=True))}`"
    return f"`{name}`", type_words(option, schema.get("$defs", {})), default, option.get("description", "")


# Markdown


def markdown(docstring: str | None) -> str:
    """A docstring as Markdown: literals in single backticks, sections as lists."""
    lines, section = [], ""
    for line in inline(inspect.cleandoc(docstring or "")).splitlines():
        if match := _SECTION.fullmatch(line):
            section = match.group(1)
            lines += [f"{section}:", ""]
        elif section and line:
            lines.append(_item(line.removeprefix("    "), section))
        else:
            section = section if line else ""
            lines.append(line)
    return "\n".join(lines)


def _item(line: str, section: str) -> str:
    """One line of a section: ``name: text``, or the continuation of the line before."""
    name, colon, text = line.partition(": ")
    if line.startswith(" ") or section == "Returns":
        return f"  {line.strip()}" if line.startswith(" ") else f"- {line}"
    return f"- `{name}`: {text}" if colon else f"- {line}"


def inline(text: str) -> str:
    """Literals of reStructuredText as those of Markdown."""
    return text.replace("``", "`")


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table; cells may have several lines and vertical bars."""
    cells = [list(header), ["---" for _ in header], *([_cell(cell) for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(row)} |\n" for row in cells)


def _cell(text: str) -> str:
    return inline(" ".join(inspect.cleandoc(text).split())).replace("|", "\\|")
