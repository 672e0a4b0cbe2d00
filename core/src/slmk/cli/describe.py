"""``slmk describe``: the options of a component, from its config."""

from __future__ import annotations

from collections.abc import Iterator

import click

from slmk.cli.json_schema import config_schema
from slmk.cli.present import show_table
from slmk.component import KINDS, KINDS_BY_SECTION, Component, Kind
from slmk.config import Config, RunConfig, TargetConfig
from slmk.errors import did_you_mean
from slmk.registry import Registry, get_registry
from slmk.spec.words import type_words, value_literal

__all__ = ["describe"]

_SECTIONS: dict[str, type[Config]] = {"run": RunConfig, "target": TargetConfig}


@click.command()
@click.argument("kind", required=False)
@click.argument("name", required=False)
def describe(kind: str | None, name: str | None) -> None:
    """Explain the options of a component: KIND is what `slmk describe` lists, NAME what a spec calls it.

    `slmk describe run` and `slmk describe target` explain the sections that belong to slmk itself.
    """
    registry = get_registry()
    if kind is None:
        _list_kinds(registry)
    elif kind in _SECTIONS:
        _print_section(kind, _SECTIONS[kind])
    elif name is None:
        _list_components(_kind(kind), registry)
    else:
        _print_component(_kind(kind), registry.component(_kind(kind).name, name))


def _kind(word: str) -> Kind:
    """The kind of that name, or whose table in a spec has that name."""
    by_word = KINDS_BY_SECTION | KINDS
    if word not in by_word:
        known = [*KINDS, *_SECTIONS]
        raise click.UsageError(f"no kind is called '{word}'; {did_you_mean(word, known) or ', '.join(known)}")
    return by_word[word]


def _list_kinds(registry: Registry) -> None:
    rows = [(kind.name, kind.header, ", ".join(registry.names(kind.name)) or "none") for kind in KINDS.values()]
    show_table(("kind", "table in a spec", "installed"), [("run", "[run]", ""), ("target", "[target]", ""), *rows])


def _list_components(kind: Kind, registry: Registry) -> None:
    rows = [(row.name, row.summary) for row in registry.rows() if row.kind == kind.name]
    show_table(("name", "summary"), rows)


def _print_section(name: str, config: type[Config]) -> None:
    click.secho(f"[{name}]", bold=True)
    _print_config(config)


def _print_component(kind: Kind, component: Component) -> None:
    click.echo(f"{click.style(f'{kind.name} {component.name}', bold=True)}: {component.summary}")
    click.echo(f'in a spec: {kind.header} with name = "{component.name}"')
    for fact in _facts(component.config):
        click.echo(fact)
    _print_config(component.config)


def _facts(config: type[Config]) -> Iterator[str]:
    """What a config declares for the checks of a spec."""
    words = {"memory": "needs a memory that offers", "offers": "offers", "roles": "network roles"}
    for name, word in (*words.items(), ("normalizers", "normalizer roles")):
        value = getattr(config, name, None)
        if value and value != "none":
            yield f"{word}: {value if isinstance(value, str) else ', '.join(value)}"


def _print_config(config: type[Config]) -> None:
    schema = config_schema(config)
    if not config.model_fields:
        click.echo("\nIt has no options.")
    for name, field in config.model_fields.items():
        option = schema["properties"][name]
        if field.is_required():
            default = click.style("required", fg="yellow")
        else:
            default = f"default {value_literal(field.get_default(call_default_factory=True))}"
        click.echo(f"\n{click.style(name, fg='cyan')}: {type_words(option, schema.get('$defs', {}))}; {default}")
        if "description" in option:
            click.echo(click.wrap_text(option["description"], 100, "    ", "    ", preserve_paragraphs=True))
