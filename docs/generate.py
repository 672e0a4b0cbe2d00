"""Writes the generated pages of the documentation: hooks, command line, plugins, components, lists in other pages.

``python docs/generate.py`` writes them; `tests/test_docs.py` compares. Everything is read from docstrings, click
commands, the registry, READMEs of plugins and results files, so a page is mended where what it describes is.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Final

import click
from component_pages import algorithms_table, component_pages
from page_parts import BUILT_IN, HEAD, first_party, inline, markdown, options_table, table, with_part

import slmk
from slmk import batch, component, config, env_info, findings, hookspecs, learner, model, protocols
from slmk.cli import COMMANDS, cli
from slmk.component import KINDS, Component, Kind
from slmk.config import Config, RunConfig, TargetConfig
from slmk.registry import FIRST_PARTY_COMMANDS, Registry, get_registry
from slmk.testing import imports

DOCS: Final = Path(__file__).parent
KERNEL: Final = Path(slmk.__file__).parent
_TITLES = {
    "env": ("Environments", "Env"),
    "algo": ("Algorithms", "Algorithm"),
    "net": ("Networks", "Network"),
    "memory": ("Memories", "Memory"),
    "normalizer": ("Normalizers", "Normalizer"),
    "reporter": ("Reporters", "Reporter"),
    "launcher": ("Launchers", "Launcher"),
}
"""Heading and protocol of each kind."""
_VALUES = (
    (component, "Component"),
    (batch, "Step"),
    (batch, "Act"),
    (batch, "Transition"),
    (batch, "Sample"),
    (env_info, "EnvInfo"),
    (protocols, "Role"),
    (protocols, "Parts"),
    (protocols, "Trainer"),
    (model, "Model"),
    (learner, "Learner"),
    (config, "Config"),
    (config, "OffPolicyConfig"),
    (config, "Linear"),
)
"""Classes of the contract that plugins make or are given."""
_ALIASES = (
    (batch, "Obs"),
    (protocols, "Metrics"),
    (config, "Schedule"),
    (config, "NonNegativeSchedule"),
    (config, "PositiveSchedule"),
    (config, "FractionSchedule"),
    (config, "Compile"),
    (config, "NonNegative"),
    (config, "Positive"),
    (config, "PositiveInt"),
    (config, "NonNegativeInt"),
    (config, "Fraction"),
    (config, "Activation"),
    (config, "Init"),
    (config, "Gaussian"),
    (config, "Exploration"),
)


def pages() -> dict[Path, str]:
    """The content of every generated page, and of every page with a generated part, by path."""
    architecture, readme, registry = DOCS / "architecture.md", DOCS.parent / "README.md", get_registry()
    return {
        DOCS / "hooks.md": hooks_page(),
        DOCS / "cli.md": cli_page(),
        DOCS / "plugins.md": plugins_page(registry),
        architecture: with_part(architecture.read_text(encoding="utf-8"), "modules", modules_table()),
        readme: with_part(
            with_part(readme.read_text(encoding="utf-8"), "algorithms", algorithms_table(registry, "docs/algorithms/")),
            "plugins",
            components_table(registry),
        ),
        **component_pages(registry),
    }


# Hooks and contract


def hooks_page() -> str:
    """The plugin author's manual, from `slmk.hookspecs`, `slmk.protocols` and the values of the contract."""
    kinds = (_kind_part(kind) for kind in KINDS.values())
    commands = f"## Commands\n\n{_hook('slmk_commands')}"
    checks = f"## Checks of the machine\n\n{_hook('slmk_checks')}\n{_class_part(findings, 'Finding', level=3)}"
    values = "\n".join(_class_part(module, name, level=3) for module, name in _VALUES)
    aliases = table(("Name", "Meaning"), [(f"`{name}`", _documented(module)[name]) for module, name in _ALIASES])
    intro = f"# Hooks and contract\n\n{HEAD}\n{markdown(inspect.getdoc(hookspecs))}\n"
    public = f"## Public modules\n\n{markdown(_documented(imports)['DOCUMENTED_MODULES'])}\n\n{public_modules_table()}"
    return "\n".join([intro, *kinds, commands, checks, "## Values\n", values, "### Types\n", aliases, public])


def _kind_part(kind: Kind) -> str:
    title, protocol = _TITLES[kind.name]
    hook, contract = _hook(kind.hook), _class_part(protocols, protocol, level=3)
    return "\n".join([f"## {title}\n", hook, contract, _class_part(config, kind.config, level=3)])


def _hook(name: str) -> str:
    node = _nodes(hookspecs)[name]
    assert isinstance(node, ast.FunctionDef)
    return f"```python no-test\n@slmk.hookimpl\n{_signature(node)}\n```\n\n{markdown(ast.get_docstring(node))}\n"


def _class_part(module: ModuleType, name: str, level: int) -> str:
    """A class with its fields and public methods."""
    node = _nodes(module)[name]
    assert isinstance(node, ast.ClassDef)
    parts = [f"{'#' * level} {name}\n", f"`{module.__name__}.{name}`\n", f"{markdown(ast.get_docstring(node))}\n"]
    fields = [(f"`{name}`", f"`{kind}`", doc) for name, kind, doc in _fields(node)]
    if fields:
        parts.append(table(("Field", "Type", "Meaning"), fields))
    methods = (each for each in node.body if isinstance(each, ast.FunctionDef) and not each.name.startswith("__init"))
    return "\n".join([*parts, *(_method(each) for each in methods if _is_public(each.name))])


def _method(node: ast.FunctionDef) -> str:
    return f"```python no-test\n{_signature(node)}\n```\n\n{markdown(ast.get_docstring(node))}\n"


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
    known = {name: command for name, command in commands.items() if name in COMMANDS or name in FIRST_PARTY_COMMANDS}
    parts = (_command_part(name, command, root) for name, command in known.items())
    intro = f"# Command line\n\n{HEAD}\n{_prose(cli.help)}\n\nPlugins may add commands; `slmk --help` lists them too.\n"
    return "\n".join([intro, _flags(root), *parts])


def _command_part(name: str, command: click.Command, root: click.Context) -> str:
    ctx = click.Context(command, parent=root, info_name=name)
    usage = " ".join([ctx.command_path, *command.collect_usage_pieces(ctx)])
    return f"## slmk {name}\n\n```\n{usage}\n```\n\n{_prose(command.help)}\n\n{_flags(ctx)}"


def _flags(ctx: click.Context) -> str:
    options = [each for each in ctx.command.params if isinstance(each, click.Option)]
    rows = [
        (_flag(each, ctx), each.help or "", f"`{each.envvar or f'{ctx.auto_envvar_prefix}_{each.name}'}`".upper())
        for each in options
    ]
    return table(("Flag", "Meaning", "Environment variable"), rows) if rows else ""


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
    kernel = [f"## {title}\n\n`{name}`\n\n{options_table(options)}" for name, title, options in sections]
    kinds = (part for kind in KINDS.values() for part in _components_part(kind, registry))
    intro = (
        f"# Plugins and their options\n\n{HEAD}\n"
        "`slmk plugins` lists what is installed, third-party plugins among them. "
        "`slmk describe KIND NAME` explains one.\n"
    )
    return "\n".join([intro, *kernel, *kinds])


def _components_part(kind: Kind, registry: Registry) -> Iterator[str]:
    yield f"## {_TITLES[kind.name][0]}\n"
    for row in first_party(registry, kind.name):
        found = registry.find(row.kind, row.name)
        assert isinstance(found, Component)
        yield _component_part(kind, found, row.distribution)


def _component_part(kind: Kind, found: Component, distribution: str) -> str:
    home = f"[`{distribution}`](../plugins/{kind.folder}/{found.name}/README.md)"
    source = "built in" if distribution == BUILT_IN else home
    facts = "".join(f"{fact}\n\n" for fact in _facts(found.config))
    summary = found.summary[0].upper() + found.summary[1:].rstrip(".")
    return f"### {kind.name} {found.name}\n\n{summary}. ({source})\n\n{facts}{options_table(found.config)}"


def _facts(options: type[Config]) -> Iterator[str]:
    words = {"memory": "Needs a memory that offers", "offers": "Offers", "roles": "Network roles:"}
    for name, word in (words | {"normalizers": "Normalizer roles:"}).items():
        value = getattr(options, name, None)
        if value and value != "none":
            yield f"{word} {', '.join(f'`{each}`' for each in ((value,) if isinstance(value, str) else value))}."


# Parts of pages


def components_table(registry: Registry) -> str:
    """Names of the first-party components of each kind but algorithms."""
    kinds = (kind for kind in KINDS if kind != "algo")
    rows = ((_TITLES[kind][0], ", ".join(f"`{row.name}`" for row in first_party(registry, kind))) for kind in kinds)
    return table(("Kind", "Plugins"), rows)


def modules_table() -> str:
    """The first line of each module's docstring; a package's modules follow it."""
    folders = [KERNEL, *sorted(path.parent for path in KERNEL.glob("*/__init__.py"))]
    rows = [(f"`{_dotted(path)}`", text) for path in _modules(folders) if (text := _first_line(path))]
    return table(("Module", "Subject"), rows)


def public_modules_table() -> str:
    """The first line of the docstring of each module from which plugins may import."""
    rows = [(f"`{name}`", _first_line(_path(name))) for name in imports.DOCUMENTED_MODULES]
    return table(("Module", "Subject"), rows)


def _modules(folders: Iterable[Path]) -> Iterator[Path]:
    order: Callable[[Path], tuple[bool, str]] = lambda path: (path.stem != "__init__", path.stem)  # noqa: E731
    return (path for folder in folders for path in sorted(folder.glob("*.py"), key=order))


def _dotted(path: Path) -> str:
    parts = path.relative_to(KERNEL.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def _path(module: str) -> Path:
    """The file of a module of the kernel; the inverse of `_dotted`."""
    path = KERNEL.parent.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _first_line(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return inline(text.partition("\n")[0])


def main() -> None:
    """Write every page."""
    for path, text in pages().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
