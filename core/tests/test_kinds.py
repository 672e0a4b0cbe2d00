"""Kinds of components: `slmk.component.KINDS` is the one table, and whatever deals with specs goes by it."""

from types import ModuleType

import pytest

import slmk.config
from slmk import Component, SpecError, hookimpl
from slmk.cli import main
from slmk.cli.json_schema import spec_schema
from slmk.component import KINDS
from slmk.registry import Registry
from slmk.spec import load
from slmk.spec.document import is_component

DECLARED = {
    "algo": {"memory": "none", "roles": ("lead",), "normalizers": ("lead",)},
    "memory": {"offers": "take"},
}
"""Class variables that a kind's options have to set."""


def options(kind):
    """Options of a kind, which find fault with every spec."""
    base = getattr(slmk.config, kind.config)
    fault = {"problems": lambda self, spec: [("", f"{kind.name} was asked")]}
    return type("Options", (base,), {**DECLARED.get(kind.name, {}), **fault, "__module__": __name__})


def plugin():
    """One component of each kind."""
    module = ModuleType("one_of_each")
    for kind in KINDS.values():
        component = Component("one", options(kind), "a:b", "s")
        setattr(module, kind.hook, hookimpl(lambda offered=component: [offered], specname=kind.hook))
    return module


REGISTRY = Registry.from_modules([plugin()])
CHOSEN = {"one": {"name": "one"}, "by role": {"lead": {"name": "one"}}, "list": [{"name": "one"}]}
"""What a section says, by the form of its kind."""
INNER = {"one": (), "by role": ("lead",), "list": (0,)}
"""The path of the table within the section."""


def test_a_component_of_each_kind_is_read_from_its_section_and_asked():
    """A spec that chooses one of each is complete, and each of them can find fault with it at its own table."""
    spec = {"run": {"env_steps": 1}} | {kind.section: CHOSEN[kind.form] for kind in KINDS.values()}
    with pytest.raises(SpecError) as caught:
        load(spec, registry=REGISTRY)
    expected = {
        ".".join(map(str, (kind.section, *INNER[kind.form]))): f"{kind.name} was asked" for kind in KINDS.values()
    }
    assert {problem.path: problem.message for problem in caught.value.problems} == expected


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_name_chooses_at_the_depth_of_its_form(kind):
    """The table of a component is the section itself, or one within it."""
    path = (kind.section, *INNER[kind.form])
    assert is_component(path)
    assert not is_component(path[:-1])
    assert not is_component((*path, "kwargs"))


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_the_schema_has_each_kind_in_its_form(kind):
    """Editors find the components of a kind where a spec has them."""
    section = spec_schema(REGISTRY)["properties"][kind.section]
    table = {"one": section, "by role": section.get("additionalProperties"), "list": section.get("items")}[kind.form]
    assert [branch["title"] for branch in table["anyOf"]] == ["one"]


def test_headers_are_those_of_toml(capsys):
    """`slmk describe` shows how a table of each kind begins."""
    main(["describe"])
    lines = {line.split()[0]: line.split()[1] for line in capsys.readouterr().out.splitlines()}
    assert {kind.name: lines[kind.name] for kind in KINDS.values()} == {
        "env": "[env]",
        "algo": "[algorithm]",
        "net": "[network.<role>]",
        "memory": "[memory]",
        "normalizer": "[normalizer.<role>]",
        "reporter": "[[reporter]]",
        "launcher": "[launcher]",
    }
