"""The registry: healthy plugins are found, unhealthy ones disturb nobody but who asks for them."""

import re
import subprocess
import sys
import textwrap
import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import slmk.builtin
from slmk import AlgorithmConfig, Component, LauncherConfig, PluginError, SpecError, hookimpl
from slmk.cli import main
from slmk.cli.json_schema import config_schema, spec_schema
from slmk.discovery import from_file, from_module
from slmk.registry import FIRST_PARTY, Registry, Row, Unavailable, install_command, missing_modules

TOY = Path(__file__).with_name("toy_plugin.py")


class Options(AlgorithmConfig):
    """No options."""

    memory = "none"


class OneRole(Options):
    """A bare string in place of a tuple."""

    roles = ("actor",)[0]


class Misspelt(Options):
    """Another word than `take`, `sample` or `none`."""

    memory = "samples"


class Unfinished(Options):
    """A field whose type is imported for type checkers alone, say."""

    folder: "Nowhere | None" = None  # noqa: F821


class Unspeakable(Options):
    """A field of which there is no JSON."""

    scale: Callable[[float], float] | None = None


def module(name, **hooks):
    """A module whose hooks offer what they are given."""
    made = types.ModuleType(name)
    for hook, offered in hooks.items():
        setattr(made, hook, hookimpl(lambda offered=offered: offered, specname=hook))
    return made


def algorithm(name, **changes):
    """A component that is right but for `changes`."""
    return Component(**{"name": name, "config": Options, "target": "math:sqrt", "summary": "s", **changes})


def install(folder, distribution, entry, code):
    """A distribution in a folder as an installer leaves it: a module, its metadata and an entry point."""
    name = entry.replace("-", "_") + "_module"
    (folder / f"{name}.py").write_text(textwrap.dedent(code))
    info = folder / f"{distribution.replace('-', '_')}-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.5\n")
    (info / "entry_points.txt").write_text(f"[slmk]\n{entry} = {name}\n")


OFFER = """
    from slmk import AlgorithmConfig, Component, hookimpl
    class Options(AlgorithmConfig):
        memory = "none"
    @hookimpl
    def slmk_algorithms():
        return [Component({name!r}, Options, "math:sqrt", "takes roots")]
"""


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder on sys.path into which distributions can be installed."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def row(registry, kind, name):
    """The row of that component."""
    return next(row for row in registry.rows() if (row.kind, row.name) == (kind, name))


def test_installed_plugin_is_found_with_its_distribution(site):
    """A plugin that an entry point announces is listed with distribution and version, and can be had by name."""
    install(site, "their-roots", "algo-roots", OFFER.format(name="roots"))
    registry = Registry.discover()
    assert row(registry, "algo", "roots") == Row("algo", "roots", "their-roots", "1.5", "ok", "takes roots")
    assert registry.load(registry.component("algo", "roots"))(16) == 4


def test_plugin_that_fails_to_import_is_a_row_and_no_more(site):
    """A plugin that raises at import is a broken row with the reason; the healthy ones beside it still work."""
    install(site, "their-broken", "algo-broken", "raise RuntimeError('out of order')")
    install(site, "their-roots", "algo-roots", OFFER.format(name="roots"))
    registry = Registry.discover()
    assert isinstance(registry.find("algo", "roots"), Component)
    broken = row(registry, "algo", "broken")
    assert (broken.health, broken.distribution, broken.version) == ("broken", "their-broken", "1.5")
    assert broken.summary == "RuntimeError: out of order"


def test_missing_module_of_a_plugin_comes_with_the_install_command(site):
    """A plugin whose import lacks a module says how to install it."""
    install(site, "their-broken", "algo-broken", "import no_such_thing.inside")
    assert row(Registry.discover(), "algo", "broken").hint == "pip install no-such-thing"


def test_plugin_that_exits_at_import_is_broken(site):
    """Even `sys.exit` at import stays inside its plugin."""
    install(site, "their-exit", "algo-exit", "raise SystemExit(3)")
    assert row(Registry.discover(), "algo", "exit").health == "broken"


@pytest.mark.parametrize("entry", ["algo-broken", "broken", "algo-broken-one"])
def test_broken_plugin_is_an_error_for_who_asks_for_it(site, entry):
    """The name that only a broken plugin could provide, told from its entry point, raises PluginError."""
    install(site, "their-broken", entry, "raise RuntimeError('out of order')")
    wanted = "broken_one" if entry.endswith("one") else "broken"
    with pytest.raises(PluginError, match="'their-broken' is broken: RuntimeError: out of order"):
        Registry.discover().component("algo", wanted)


def test_hook_that_raises_breaks_its_plugin_alone():
    """A hook's exception becomes the reason of a broken plugin."""

    class Raises:
        @hookimpl
        def slmk_networks(self):
            raise ValueError("no networks today")

    registry = Registry.from_modules([Raises(), module("fine", slmk_algorithms=[algorithm("fine")])])
    assert registry.names("algo") == ["fine"]
    assert row(registry, "?", "Raises").summary == "ValueError: no networks today"


def test_two_plugins_with_one_name_conflict_only_for_who_asks(monkeypatch, capsys):
    """Both distributions are named, in the listing and in the error, and other names are not touched."""
    first = module("first", slmk_algorithms=[algorithm("same", summary="one"), algorithm("other")])
    second = module("second", slmk_algorithms=[algorithm("same", summary="two")])
    registry = Registry.from_modules([first, second])
    assert [r.health for r in registry.rows()] == ["ok", "conflict", "conflict"]
    monkeypatch.setattr("slmk.cli.plugins.get_registry", lambda: registry)
    assert main(["plugins"]) == 0
    assert capsys.readouterr().out.count("conflict: algo same: ") == 1, "said once, not once for each of the two"
    with pytest.raises(PluginError, match="'same' is claimed by 'first' and 'second'"):
        registry.component("algo", "same")
    assert registry.component("algo", "other").name == "other"


def test_a_conflict_comes_with_what_can_be_done():
    """A plugin that clashes with itself, or with slmk, is not to be uninstalled together with what it clashes with."""
    twice = module("twice", slmk_algorithms=[algorithm("same", summary="one"), algorithm("same", summary="two")])
    with pytest.raises(PluginError, match="claimed by 2 components of 'twice'; each needs a name of its own"):
        Registry.from_modules([twice]).component("algo", "same")
    theirs = module("theirs", slmk_launchers=[Component("local", LauncherConfig, "a:B", "s")])
    with pytest.raises(PluginError, match="and 'theirs'; slmk itself needs the name: uninstall 'theirs', or give"):
        Registry.from_modules([slmk.builtin, theirs]).component("launcher", "local")


def test_one_record_offered_twice_is_no_conflict():
    """The same component through two ways, such as an entry point and a file, is one component."""
    same = algorithm("same")
    registry = Registry.from_modules([module("a", slmk_algorithms=[same]), module("b", slmk_algorithms=[same])])
    assert registry.component("algo", "same") is same


def test_misspelt_hook_names_the_nearest_one():
    """A marked function that is no hook breaks the plugin, with a suggestion."""
    plugin = module("typo")
    plugin.slmk_algoritms = hookimpl(lambda: [algorithm("x")])
    assert from_module(plugin).fault == "'slmk_algoritms' is not a hook; did you mean 'slmk_algorithms'?"


def test_unmarked_hook_is_told():
    """A function with the name of a hook but without the marker would be ignored silently; it is an error instead."""
    plugin = module("unmarked")
    plugin.slmk_algorithms = lambda: [algorithm("x")]
    assert "put @slmk.hookimpl above it" in from_module(plugin).fault


def test_hook_with_an_unknown_argument_is_told():
    """An argument that the hook does not have breaks the plugin, and is named."""
    plugin = module("argument")
    plugin.slmk_algorithms = hookimpl(lambda everything: [])
    assert "everything" in from_module(plugin).fault


@pytest.mark.parametrize(
    ("offered", "fault"),
    [
        (algorithm("x"), "slmk_algorithms must return a list, not a Component"),
        ([Options], "slmk_algorithms must offer Component objects, not a ModelMetaclass"),
        (7, "slmk_algorithms must return a list, not a int"),
        (None, "slmk_algorithms must return a list, not None"),
    ],
)
def test_hook_that_returns_something_else_is_told(offered, fault):
    """A hook must return a list of components."""
    assert from_module(module("wrong", slmk_algorithms=offered)).fault == fault


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"name": Options, "config": "x"}, "name is .*Options.*, expected a string"),
        ({"name": ["x"]}, r"name is \['x'\], expected a string"),
        ({"target": print}, "target is <built-in .*, expected a string"),
        ({"summary": None}, "summary is None, expected a string"),
        ({"install": ("a",)}, r"install is \('a',\), expected a string"),
        ({"requires": None}, "requires is None, expected a tuple of strings"),
        ({"requires": "envpool"}, "requires is 'envpool', expected a tuple of strings"),
        ({"requires": (7,)}, r"requires is \(7,\), expected a tuple of strings"),
    ],
)
def test_a_record_of_wrong_types_breaks_its_plugin_alone(changes, found):
    """The field is named; what others offer is listed and found as before."""
    wrong = module("wrong", slmk_algorithms=[algorithm(**{"name": "x"} | changes)])
    registry = Registry.from_modules([wrong, module("fine", slmk_algorithms=[algorithm("fine")])])
    assert [row.health for row in registry.rows()] == ["ok", "broken"]
    assert re.fullmatch(f"slmk_algorithms offers a Component whose {found}", row(registry, "?", "wrong").summary)
    assert registry.component("algo", "fine").name == "fine"


def test_a_plugin_that_offers_nothing_is_told():
    """An entry point that names the wrong module would be healthy otherwise; an empty list is meant."""
    assert from_module(module("empty")).fault == "it offers nothing: in empty no function is marked by @slmk.hookimpl"
    assert from_module(module("none today", slmk_algorithms=[])).fault == ""


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"api": 99}, "version 99 of the plugin contract, and this slmk has version 1"),
        ({"config": int}, "its config must be a subclass of slmk.AlgorithmConfig"),
        ({"config": AlgorithmConfig}, "does not set the class variable 'memory'"),
        ({"config": OneRole}, "'roles' of OneRole is 'actor'; it should be a valid tuple"),
        ({"config": Misspelt}, "'memory' of Misspelt is 'samples'; it should be 'take', 'sample' or 'none'"),
        ({"target": "math.sqrt"}, "not of the form 'module:attribute'"),
        ({"config": Unfinished}, "the types of the fields of Unfinished are not all known: .*'Nowhere' is not defined"),
    ],
)
def test_component_that_breaks_the_contract_is_refused_with_the_reason(changes, reason):
    """The contract version, the config's base, its declarations and the target's form are checked when asked for."""
    registry = Registry.from_modules([module("old", slmk_algorithms=[algorithm("x", **changes)])])
    assert row(registry, "algo", "x").health == "broken"
    with pytest.raises(PluginError, match=reason):
        registry.component("algo", "x")


def test_options_without_a_json_schema_spoil_only_their_own():
    """`slmk schema` has the other components, and of the one the name; who asks for its options gets the reason."""
    offered = [algorithm("fine"), algorithm("odd", config=Unspeakable), algorithm("old", config=Unfinished)]
    schema = spec_schema(Registry.from_modules([module("theirs", slmk_algorithms=offered)]))
    branches = {branch["title"]: branch for branch in schema["properties"]["algorithm"]["anyOf"]}
    assert set(branches) == {"fine", "odd"}
    assert branches["fine"]["additionalProperties"] is False
    assert "additionalProperties" not in branches["odd"]
    with pytest.raises(PluginError, match=r"no schema of .*Unspeakable: .*CallableSchema"):
        config_schema(Unspeakable)


def test_first_party_name_that_is_not_installed_comes_with_the_command():
    """A name of this project that is not installed is answered with what to install."""
    found = Registry([]).find("algo", "ppo_brax")
    assert found == Unavailable("algorithm 'ppo_brax' is not installed", "pip install slmk-algo-ppo-brax")


def test_first_party_names_are_those_of_the_folders():
    """Every plugin folder of this repository is known by name, so that the install hint never lies.

    A folder without an entry point is a library that plugins share.
    """
    from slmk.component import KINDS

    plugins = Path(__file__).parents[2] / "plugins"
    for kind in KINDS.values():
        manifests = plugins.glob(f"{kind.folder}/*/pyproject.toml")
        folders = {path.parent.name for path in manifests if "[project.entry-points.slmk]" in path.read_text()}
        assert folders <= set(FIRST_PARTY[kind.name])


def test_unknown_name_is_answered_with_the_nearest():
    """A misspelt name is a mistake of the spec, and the nearest name is suggested."""
    with pytest.raises(SpecError, match="no algorithm is called 'toi'; did you mean 'toy'"):
        Registry([from_file(TOY)]).component("algo", "toi")


def test_required_modules_are_looked_up_and_not_imported():
    """`requires` is checked without importing; what is missing comes with the install command."""
    registry = Registry([from_file(TOY)])
    component = registry.component("env", "toy_lacking")
    assert missing_modules(component) == ["no_such_module"]
    assert install_command(component) == "pip install 'toy[all]'"
    minded = replace(component, install_note="in an environment of its own")
    assert install_command(minded) == "pip install 'toy[all]' (in an environment of its own)"
    assert row(registry, "env", "toy_lacking").health == "needs"
    present = algorithm("x", requires=("antigravity", "xml.dom"))
    assert missing_modules(present) == []
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("no_such_module:Thing", "No module named 'no_such_module'; pip install thing"),
        ("math:no_such_function", "has no attribute 'no_such_function'"),
    ],
)
def test_target_that_cannot_be_imported_is_a_plugin_error(target, reason):
    """The import error of a target becomes a PluginError that says why and what to install."""
    with pytest.raises(PluginError, match=reason):
        Registry.load(algorithm("x", target=target, install="thing"))


def test_plugin_file_must_exist_and_have_a_name_of_its_own(tmp_path):
    """A missing file, and one that another module shadows, are told apart from a healthy one."""
    assert from_file(tmp_path / "nowhere.py").fault == f"there is no file {tmp_path / 'nowhere.py'}"
    (tmp_path / "json.py").write_text("")
    assert "rename the file" in from_file(tmp_path / "json.py").fault
    assert from_file(TOY).fault == ""


def test_commands_of_plugins_are_offered(site):
    """`slmk_commands` adds click commands; those of an entry point `command-…` are in `slmk --help`."""
    install(
        site,
        "their-command",
        "command-greet",
        """
        import click
        from slmk import hookimpl
        @click.command()
        def greet():
            \"\"\"Say hello.\"\"\"
            click.echo("hello")
        @hookimpl
        def slmk_commands():
            return [greet]
        """,
    )
    assert "greet" in Registry.discover().commands()
    run = [
        sys.executable,
        "-c",
        f"import sys; sys.path.insert(0, {str(site)!r}); from slmk.cli import main; sys.exit(main())",
    ]
    help_text = subprocess.run([*run, "--help"], capture_output=True, text=True, check=True).stdout
    assert re.search(r"greet +Say hello\.", help_text)
    assert subprocess.run([*run, "greet"], capture_output=True, text=True, check=True).stdout == "hello\n"


def test_the_doctor_runs_checks_of_plugins(site):
    """`slmk_checks` adds functions; one that raises is a finding, and what is no function a fault of the plugin."""
    install(
        site,
        "their-check",
        "check-robot",
        """
        from slmk import hookimpl
        from slmk.findings import Finding
        def robot():
            yield Finding("note", "robot", "its battery is low", "charge it")
        def broken():
            raise OSError("no such port")
        @hookimpl
        def slmk_checks():
            return [robot, broken]
        """,
    )
    found = [check.__name__ for check in Registry.discover().checks() if check.__module__ == "check_robot_module"]
    assert found == ["robot", "broken"]
    code = f"import sys; sys.path.insert(0, {str(site)!r}); from slmk.cli import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code, "doctor"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "note  robot: its battery is low\n      → charge it" in done.stdout
    assert "the check itself failed: OSError: no such port" in done.stdout


def test_a_check_has_to_be_a_function(site):
    """As with other hooks, the plugin that breaks the rule is named as broken."""
    install(
        site,
        "their-wrong-check",
        "check-arm",
        """
        from slmk import hookimpl
        @hookimpl
        def slmk_checks():
            return ["robot"]
        """,
    )
    (row,) = [row for row in Registry.discover().rows() if row.distribution == "their-wrong-check"]
    assert (row.health, row.summary) == ("broken", "slmk_checks must offer functions, not a str")
