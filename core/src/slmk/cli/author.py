"""Commands for authors of plugins: start one from a template, and put one through the contract suite."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from keyword import iskeyword
from pathlib import Path
from string import Template
from typing import Any, Final

import click
from pydantic import ValidationError

from slmk.cli.options import sets
from slmk.component import KINDS, Kind
from slmk.errors import Problem, RunError, SpecError
from slmk.registry import FIRST_PARTY, get_registry
from slmk.spec.document import dotted, from_mapping
from slmk.spec.explain import Mistake, explain
from slmk.spec.overrides import apply
from slmk.spec.values import to_tuples

__all__ = ["check_plugin", "new"]

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_KIND = click.Choice(list(KINDS))


_SUMMARIES: Final = {
    "env": "a mass on a line, to be pushed to the origin",
    "algo": "REINFORCE with the mean return as baseline",
    "net": "one hidden layer",
    "memory": "a rollout as a list of steps",
    "normalizer": "division by the largest absolute value seen",
    "reporter": "metrics as CSV",
    "launcher": "one session after the other, in this process",
}
"""What the generated example of each kind does."""
_ROLES: Final = {"net": "actor", "normalizer": "obs"}
"""The role that it plays."""


@click.command()
@click.argument("kind", type=_KIND)
@click.argument("name")
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    show_default="the current one",
    help="Where the plugin's folder is made.",
)
def new(kind: str, name: str, directory: Path) -> None:
    """Write a plugin of KIND that a spec calls NAME: a small example that runs and keeps the contract, to be changed.

    It is a distribution in a folder of its own, slmk-KIND-NAME, and belongs to you: slmk need not know of it.
    """
    _check_name(KINDS[kind], name)
    words = _substitutions(KINDS[kind], name)
    project = directory / words["distribution"]
    if project.exists():
        raise click.UsageError(f"{project} exists already; choose another name or --directory, or remove it")
    try:
        _write(project, _files(kind, words))
    except OSError as error:
        raise RunError(f"cannot write the plugin to {project}: {error.strerror}") from error
    click.echo(f"{KINDS[kind].word} '{name}': {project}")
    click.echo(f"next: pip install -e {project} && slmk run {project / 'example.toml'}")


def _write(project: Path, contents: Iterator[tuple[str, str]]) -> None:
    for path, text in contents:
        target = project / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


def _check_name(kind: Kind, name: str) -> None:
    if not _NAME.fullmatch(name) or iskeyword(name):
        hint = "lower-case letters, digits and '_', beginning with a letter, and no keyword of Python"
        nearest = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
        suggestion = f"; try '{nearest}'" if _NAME.fullmatch(nearest) and not iskeyword(nearest) else ""
        raise click.UsageError(f"'{name}' cannot be the name of a plugin: expected {hint}{suggestion}")
    if name in {*FIRST_PARTY[kind.name], *get_registry().names(kind.name)}:
        message = f"the {kind.word} '{name}' exists already, and two of one name cannot be installed together"
        raise click.UsageError(message)
    if hidden := _hidden(kind, name):
        message = f"'{name}' cannot be the name of this plugin: its class would hide the '{hidden}' that it imports"
        raise click.UsageError(f"{message}; choose another, such as 'my_{name}'")


def _hidden(kind: Kind, name: str) -> str | None:
    """What a file of the plugin would import and give to its own class as a name."""
    for path, text in _files(kind.name, _substitutions(kind, name)):
        if path.endswith(".py"):
            nodes = list(ast.walk(ast.parse(text)))
            imports = (node.names for node in nodes if isinstance(node, ast.Import | ast.ImportFrom))
            imported = {alias.asname or alias.name for names in imports for alias in names}
            for node in nodes:
                if isinstance(node, ast.ClassDef) and node.name in imported:
                    return node.name
    return None


def _substitutions(kind: Kind, name: str) -> dict[str, str]:
    """What the placeholders of the templates stand for."""
    summary = _SUMMARIES[kind.name]
    distribution = f"slmk-{kind.name}-{name}".replace("_", "-")
    return {
        "kind": kind.name,
        "name": name,
        "distribution": distribution,
        "package": f"slmk_{kind.name}_{name}",
        "module": kind.section,
        "Class": "".join(part.capitalize() for part in name.split("_")),
        "word": kind.word,
        "table": kind.header.replace("<role>", _ROLES.get(kind.name, "")),
        "summary": summary,
        "Summary": summary[0].upper() + summary[1:],
    }


def _files(kind: str, words: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Path within the plugin's folder and content of each file."""
    source = f"src/{words['package']}"
    homes = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        f"{kind}/example.toml": "example.toml",
        f"{kind}/__init__.py": f"{source}/__init__.py",
        f"{kind}/module.py": f"{source}/{words['module']}.py",
        f"{kind}/test.py": f"tests/test_{words['name']}.py",
    }
    for template, home in homes.items():
        yield home, Template(_read(files("slmk") / "templates", f"{template}.tmpl")).substitute(words)


def _read(folder: Traversable, name: str) -> str:
    return folder.joinpath(name).read_text(encoding="utf-8")


@click.command(name="check-plugin")
@click.argument("kind", type=_KIND)
@click.argument("name")
@sets("check-plugin", "an option of the component")
def check_plugin(kind: str, name: str, overrides: tuple[str, ...]) -> int:
    """Put the component NAME of KIND through the contract suite, and print one line for each check.

    Options that a component requires, such as the id of an environment, are given by -s. Exits with 3 if it breaks a
    promise, or if nothing could be checked.
    """
    options = _options(KINDS[kind], name, overrides)
    from slmk import testing  # torch: not before the options are right.

    report = testing.check(kind, name, options=options)
    click.echo(report)
    return 0 if report.ok else 3


def _options(kind: Kind, name: str, overrides: tuple[str, ...]) -> Mapping[str, Any]:
    """The options that ``-s`` sets, by key.

    Raises:
        SpecError: they are not those of the component, or it needs more.
    """
    problems: list[Problem] = []
    document = apply(from_mapping({}, problems), overrides, problems)
    config, options = get_registry().component(kind.name, name).config, document.data
    try:
        config.model_validate(to_tuples(options))
    except ValidationError as error:
        problems.extend(_problem(mistake) for mistake in explain(error, config, options))
    if problems:
        raise SpecError(problems)
    return options


def _problem(mistake: Mistake) -> Problem:
    path = dotted(mistake.path)
    hint = mistake.hint or (f"give it by -s {path}=…" if mistake.missing else None)
    return Problem(mistake.message, path, expected=mistake.expected, found=mistake.found, hint=hint)
