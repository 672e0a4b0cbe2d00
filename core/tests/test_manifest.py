"""What a run directory says about how the run was made."""

import sys

import pytest

import slmk
from slmk import manifest as module
from slmk.manifest import distributions_of, manifest
from slmk.registry import Registry
from slmk.testing.subject import with_toys
from slmk.testing.toy_runs import toy_spec

PLUGIN = """
from slmk import Component, EnvConfig, hookimpl
@hookimpl
def slmk_env_backends():
    return [Component("theirs", EnvConfig, "math:sqrt", "theirs", requires=("their_simulator.worlds",))]
"""


def install(site, name, version, modules=(), requires=(), entry=""):
    """A distribution in a folder as an installer leaves it: modules, metadata and perhaps an entry point."""
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    about = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {each}" for each in requires)]
    (info / "METADATA").write_text("\n".join(["Metadata-Version: 2.1", *about, ""]))
    (info / "top_level.txt").write_text("\n".join(modules))
    for each in modules:
        (site / f"{each}.py").write_text(PLUGIN if entry else "")
    if entry:
        (info / "entry_points.txt").write_text(f"[slmk]\n{entry} = {modules[0]}\n")


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder on sys.path with a plugin, its simulator, and what the simulator computes with."""
    monkeypatch.syspath_prepend(tmp_path)
    install(tmp_path, "their-plugin", "1.5", ["their_plugin"], ["slmk", "their-helper>=1"], entry="env-theirs")
    install(tmp_path, "their-helper", "1.6")
    install(
        tmp_path, "worlds", "2.0", ["their_simulator"], ["physics[gpu] (<4,>=3)", 'solver; extra == "fast"', "absent"]
    )
    install(tmp_path, "physics", "3.1", requires=["unrelated"])
    install(tmp_path, "solver", "0.4")
    install(tmp_path, "unrelated", "9.0")
    yield tmp_path
    sys.modules.pop("their_plugin", None)


def test_versions_of_a_third_partys_simulator_are_recorded(site, monkeypatch):
    """Those of the plugin, of the simulator that it needs, and of what each of them requires, as far as it is there."""
    registry = with_toys(Registry.discover())
    monkeypatch.setattr(module, "get_registry", lambda: registry)
    blueprint = slmk.load({**toy_spec(), "env": {"name": "theirs"}}, registry=registry)
    versions = manifest(blueprint, [0])["versions"]
    theirs = {"their-plugin": "1.5", "their-helper": "1.6", "worlds": "2.0", "physics": "3.1", "solver": "0.4"}
    assert theirs.items() <= versions.items()
    assert {"slmk", "torch", "numpy"} <= set(versions)
    assert not {"unrelated", "absent", "slmk-env-gymnasium"} & set(versions)


def test_a_module_is_found_by_what_its_distribution_contains(site):
    """The two need not have one name; what is not installed is left out."""
    assert distributions_of(["their_simulator", "numpy.linalg", "no_such_module"]) == {
        "worlds": "2.0",
        "numpy": sys.modules["numpy"].__version__,
    }
