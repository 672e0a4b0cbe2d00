"""Writes the generated pages of the documentation: hooks, command line, plugins, and lists in pages written by hand.

``python docs/generate.py`` writes them; `tests/test_docs.py` compares. Everything is read from docstrings, click
commands and the registry, so a page is mended where the thing that it describes is.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import click

import slmk
from slmk import batch, component, config, env_info, hookspecs, protocols
from slmk.cli import COMMANDS, cli
from slmk.cli.json_schema import config_schema
from slmk.component import KINDS, Component, Kind
from slmk.config import Config, RunConfig, TargetConfig
from slmk.registry import FIRST_PARTY, Registry, Row, get_registry
from slmk.spec.words import type_words, value_literal

DOCS: Final = Path(__file__).parent
KERNEL: Final = Path(slmk.__file__).parent
_HEAD = "<!-- Written by docs/generate.py; change the source of what is described, then run `make docs`. -->\n"
_TITLES = {
    "env": ("Environments", "Env", "EnvConfig"),
    "algo": ("Algorithms", "Algorithm", "AlgorithmConfig"),
    "net": ("Networks", "Network", "NetworkConfig"),
    "memory": ("Memories", "Memory", "MemoryConfig"),
    "normalizer": ("Normalizers", "Normalizer", "NormalizerConfig"),
    "reporter": ("Reporters", "Reporter", "ReporterConfig"),
    "launcher": ("Launchers", "Launcher", "LauncherConfig"),
}
"""Heading, protocol and config base of each kind."""
_VALUES = (
    (component, "Component"),
    (batch, "Step"),
    (batch, "Act"),
    (batch, "Transition"),
    (env_info, "EnvInfo"),
    (protocols, "Role"),
    (protocols, "Parts"),
    (config, "Config"),
    (config, "Linear"),
)
"""Classes of the contract that plugins make or are given."""
_ALIASES = (
    (batch, "Obs"),
    (protocols, "Metrics"),
    (config, "Schedule"),
    (config, "NonNegative"),
    (config, "Positive"),
    (config, "PositiveInt"),
    (config, "Fraction"),
)
_SECTION = re.compile(r"(Args|Returns|Raises):")
_BUILT_IN = "slmk"
_USES = {"take": "on-policy", "sample": "off-policy", "none": "none"}
"""What an algorithm learns from, by its need of a memory."""


def pages() -> dict[Path, str]:
    """The content of every generated page, and of every page with a generated part, by path."""
    architecture, readme, registry = DOCS / "architecture.md", DOCS.parent / "README.md", get_registry()
    return {
        DOCS / "hooks.md": hooks_page(),
        DOCS / "cli.md": cli_page(),
        DOCS / "plugins.md": plugins_page(registry),
        architecture: with_part(architecture.read_text(encoding="utf-8"), "modules", modules_table()),
        readme: with_part(
            with_part(readme.read_text(encoding="utf-8"), "algorithms", algorithms_table(registry)),
            "plugins",
            components_table(registry),
        ),
    }


# Hooks and contract


def hooks_page() -> str:
    """The plugin author's manual, from `slmk.hookspecs`, `slmk.protocols` and the values of the contract."""
    kinds = (_kind_part(kind) for kind in KINDS.values())
    commands = f"## Commands\n\n{_hook('slmk_commands')}"
    values = "\n".join(_class_part(module, name, level=3) for module, name in _VALUES)
    aliases = _table(("Name", "Meaning"), [(f"`{name}`", _documented(module)[name]) for module, name in _ALIASES])
    intro = f"# Hooks and contract\n\n{_HEAD}\n{_markdown(inspect.getdoc(hookspecs))}\n"
    return "\n".join([intro, *kinds, commands, "## Values\n", values, "### Types\n", aliases])


def _kind_part(kind: Kind) -> str:
    title, protocol, base = _TITLES[kind.name]
    hook, contract = _hook(kind.hook), _class_part(protocols, protocol, level=3)
    return "\n".join([f"## {title}\n", hook, contract, _class_part(config, base, level=3)])


def _hook(name: str) -> str:
    node = _nodes(hookspecs)[name]
    assert isinstance(node, ast.FunctionDef)
    return f"```python no-test\n@slmk.hookimpl\n{_signature(node)}\n```\n\n{_markdown(ast.get_docstring(node))}\n"


def _class_part(module: ModuleType, name: str, level: int) -> str:
    """A class with its fields and public methods."""
    node = _nodes(module)[name]
    assert isinstance(node, ast.ClassDef)
    parts = [f"{'#' * level} {name}\n", f"`{module.__name__}.{name}`\n", f"{_markdown(ast.get_docstring(node))}\n"]
    fields = [(f"`{name}`", f"`{kind}`", doc) for name, kind, doc in _fields(node)]
    if fields:
        parts.append(_table(("Field", "Type", "Meaning"), fields))
    methods = (each for each in node.body if isinstance(each, ast.FunctionDef) and not each.name.startswith("__init"))
    return "\n".join([*parts, *(_method(each) for each in methods if _is_public(each.name))])


def _method(node: ast.FunctionDef) -> str:
    return f"```python no-test\n{_signature(node)}\n```\n\n{_markdown(ast.get_docstring(node))}\n"


def _is_public(name: str) -> bool:
    return not name.startswith("_") or name == "__call__"


def _signature(node: ast.FunctionDef) -> str:
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    arguments = ast.unparse(node.args).replace("=", " = ")
    return f"def {node.name}({arguments}){returns}"


def _fields(node: ast.ClassDef) -> Iterator[tuple[str, str, str]]:
    """Name, type and documentation of annotated fields; what belongs to pydantic is left out."""
    for field, below in pairwise([*node.body, ast.Pass()]):
        if isinstance(field, ast.AnnAssign):
            default = f" = {ast.unparse(field.value)}" if field.value else ""
            doc = below.value.value if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) else ""
            yield ast.unparse(field.target), ast.unparse(field.annotation) + default, str(doc)


@cache
def _nodes(module: ModuleType) -> dict[str, ast.stmt]:
    """Classes and functions of a module's source, by name."""
    body = ast.parse(inspect.getsource(module)).body
    return {node.name: node for node in body if isinstance(node, ast.ClassDef | ast.FunctionDef)}


@cache
def _documented(module: ModuleType) -> dict[str, str]:
    """The string literals under assignments of a module, by name."""
    docs = {}
    for node, below in pairwise(ast.parse(inspect.getsource(module)).body):
        match node, below:
            case ast.Assign(targets=[ast.Name(id=name)]), ast.Expr(value=ast.Constant(value=str(text))):
                docs[name] = text
    return docs


# Command line


def cli_page() -> str:
    """Every command of the kernel and its plugins with its arguments, flags and environment variables."""
    root = click.Context(cli, info_name="slmk", auto_envvar_prefix="SLMK")
    commands = {name: command for name in cli.list_commands(root) if (command := cli.get_command(root, name))}
    known = {name: command for name, command in commands.items() if name in COMMANDS or _is_ours(command)}
    parts = (_command_part(name, command, root) for name, command in known.items())
    intro = (
        f"# Command line\n\n{_HEAD}\n{_prose(cli.help)}\n\nPlugins may add commands; `slmk --help` lists them too.\n"
    )
    return "\n".join([intro, _flags(root), *parts])


def _is_ours(command: click.Command) -> bool:
    """Whether a command belongs to a first-party plugin, which is named after its kind and its component."""
    _, kind, name = f"{getattr(command.callback, '__module__', '')}.".partition(".")[0].split("_", 2)
    return name in FIRST_PARTY.get(kind, ())


def _command_part(name: str, command: click.Command, root: click.Context) -> str:
    ctx = click.Context(command, parent=root, info_name=name)
    usage = " ".join([ctx.command_path, *command.collect_usage_pieces(ctx)])
    return f"## slmk {name}\n\n```\n{usage}\n```\n\n{_prose(command.help)}\n\n{_flags(ctx)}"


def _flags(ctx: click.Context) -> str:
    options = [each for each in ctx.command.params if isinstance(each, click.Option) and each.expose_value]
    rows = [(_flag(each, ctx), each.help or "", f"`{ctx.auto_envvar_prefix}_{each.name}`".upper()) for each in options]
    table = _table(("Flag", "Meaning", "Environment variable"), rows)
    return table if rows else ""


def _flag(option: click.Option, ctx: click.Context) -> str:
    names = ", ".join(f"`{name}`" for name in option.opts)
    if option.is_flag:
        return names
    default = f" (default `{option.default}`)" if option.show_default and not callable(option.default) else ""
    return f"{names} `{option.make_metavar(ctx)}`{default}"


def _prose(text: str | None) -> str:
    return inspect.cleandoc(text or "")


# Plugins


def plugins_page(registry: Registry) -> str:
    """Every first-party component that is installed, with its options and their documentation."""
    sections = [("[run]", "run", RunConfig), ("[target]", "target", TargetConfig)]
    kernel = [f"## {name}\n\n`{table}`\n\n{_options(options)}" for table, name, options in sections]
    kinds = (part for kind in KINDS.values() for part in _components_part(kind, registry))
    intro = (
        f"# Plugins and their options\n\n{_HEAD}\n"
        "`slmk plugins` lists what is installed, third-party plugins among them. "
        "`slmk describe KIND NAME` explains one.\n"
    )
    return "\n".join([intro, *kernel, *kinds])


def _components_part(kind: Kind, registry: Registry) -> Iterator[str]:
    yield f"## {_TITLES[kind.name][0]}\n"
    for row in _first_party(registry, kind.name):
        found = registry.find(row.kind, row.name)
        assert isinstance(found, Component)
        yield _component_part(kind, found, row.distribution)


def _is_first_party(row: Row) -> bool:
    name = f"slmk-{row.kind}-{row.name}".replace("_", "-")
    return row.distribution == _BUILT_IN or (row.distribution == name and row.name in FIRST_PARTY[row.kind])


def _component_part(kind: Kind, found: Component, distribution: str) -> str:
    home = f"[`{distribution}`](../plugins/{kind.folder}/{found.name}/README.md)"
    source = "built in" if distribution == _BUILT_IN else home
    facts = "".join(f"{fact}\n\n" for fact in _facts(found.config))
    summary = found.summary[0].upper() + found.summary[1:].rstrip(".")
    return f"### {kind.name} {found.name}\n\n{summary}. ({source})\n\n{facts}{_options(found.config)}"


def _facts(options: type[Config]) -> Iterator[str]:
    words = {"memory": "Needs a memory that offers", "offers": "Offers", "roles": "Network roles:"}
    for name, word in (words | {"normalizers": "Normalizer roles:"}).items():
        value = getattr(options, name, None)
        if value and value != "none":
            yield f"{word} {', '.join(f'`{each}`' for each in ((value,) if isinstance(value, str) else value))}."


def _options(options: type[Config]) -> str:
    schema = config_schema(options)
    if not options.model_fields:
        return "It has no options.\n"
    rows = [_option(name, options, schema) for name in options.model_fields]
    return _table(("Option", "Type", "Default", "Meaning"), rows)


def _option(name: str, options: type[Config], schema: dict[str, Any]) -> tuple[str, str, str, str]:
    field, option = options.model_fields[name], schema["properties"][name]
    default = "required" if field.is_required() else f"`{value_literal(field.get_default(call_default_factory=True))}`"
    return f"`{name}`", type_words(option, schema.get("$defs", {})), default, option.get("description", "")


# Parts of pages


def with_part(page: str, name: str, text: str) -> str:
    """`page` with `text` between the markers of that name."""
    begin, end = f"<!-- {name}: begin (written by docs/generate.py) -->\n", f"<!-- {name}: end -->"
    before, rest = page.split(begin)
    return f"{before}{begin}\n{text}\n{rest[rest.index(end) :]}"


def algorithms_table(registry: Registry) -> str:
    """What each first-party algorithm is and learns from, with a link to its page."""
    rows = []
    for row in _first_party(registry, "algo"):
        found = registry.find("algo", row.name)
        assert isinstance(found, Component)
        config: Any = found.config
        link = f"[`{row.name}`](plugins/algos/{row.name}/README.md)"
        rows.append((link, found.summary, _USES[config.memory], ", ".join(f"`{role}`" for role in config.roles)))
    return _table(("Algorithm", "What it is", "Learns from", "Networks"), rows)


def components_table(registry: Registry) -> str:
    """Names of the first-party components of each kind but algorithms."""
    kinds = (kind for kind in KINDS if kind != "algo")
    rows = ((_TITLES[kind][0], ", ".join(f"`{row.name}`" for row in _first_party(registry, kind))) for kind in kinds)
    return _table(("Kind", "Plugins"), rows)


def _first_party(registry: Registry, kind: str) -> list[Row]:
    return [row for row in registry.rows() if row.kind == kind and _is_first_party(row)]


def modules_table() -> str:
    """The first line of each module's docstring; a package's modules follow it."""
    folders = [KERNEL, *sorted(path.parent for path in KERNEL.glob("*/__init__.py"))]
    rows = [(f"`{_dotted(path)}`", text) for path in _modules(folders) if (text := _first_line(path))]
    return _table(("Module", "Subject"), rows)


def _modules(folders: Iterable[Path]) -> Iterator[Path]:
    order: Callable[[Path], tuple[bool, str]] = lambda path: (path.stem != "__init__", path.stem)  # noqa: E731
    return (path for folder in folders for path in sorted(folder.glob("*.py"), key=order))


def _dotted(path: Path) -> str:
    parts = path.relative_to(KERNEL.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def _first_line(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return _inline(text.partition("\n")[0])


# Markdown


def _markdown(docstring: str | None) -> str:
    """A docstring as Markdown: literals in single backticks, sections as lists."""
    lines, section = [], ""
    for line in _inline(inspect.cleandoc(docstring or "")).splitlines():
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


def _inline(text: str) -> str:
    return text.replace("``", "`")


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    cells = [list(header), ["---" for _ in header], *([_cell(cell) for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(row)} |\n" for row in cells)


def _cell(text: str) -> str:
    return _inline(" ".join(inspect.cleandoc(text).split())).replace("|", "\\|")


def main() -> None:
    """Write every page."""
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
