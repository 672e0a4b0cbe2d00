"""Commands that only look start at once: no torch, no simulator, in under half a second."""

import os
import pkgutil
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import slmk

SPEC = Path(__file__).parents[2] / "specs" / "classic" / "ppo_cartpole.toml"
COMMANDS = [["--help"], ["plugins"], ["check", str(SPEC)]]
HEAVY = {"torch", "numpy", "gymnasium", "jax", "mujoco", "envpool", "rich", "structlog"}
LIMIT = 0.5
LIBRARIES = "import click, importlib.metadata, pydantic\nclass A(pydantic.BaseModel): x: int\nA(x=1)"
"""What no command that reads configs can do without."""


def run(code, cache, *arguments):
    """Run Python code in a process of its own, with bytecode cached as on a user's machine."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(cache)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A folder for bytecode."""
    return tmp_path_factory.mktemp("bytecode")


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: arguments[0])
def test_no_heavy_module_is_imported(arguments, cache):
    """None of torch, the simulators, numpy, rich and structlog is imported."""
    code = "import sys; from slmk.cli import main; main(); print(*sys.modules)"
    imported = set(run(code, cache, *arguments).splitlines()[-1].split())
    assert "slmk.cli" in imported
    assert not imported & HEAVY


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: arguments[0])
def test_it_takes_less_than_half_a_second(arguments, cache):
    """The best of some runs; on a machine that is slow or busy, less than twice what the bare libraries take there."""
    code = "from slmk.cli import main; main()"
    pairs = [(_seconds(code, cache, arguments), _seconds(LIBRARIES, cache, ())) for _ in range(8)][1:]
    command, libraries = map(min, zip(*pairs, strict=True))
    assert command < max(LIMIT, 2 * libraries)


def _seconds(code, cache, arguments):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run(code, cache, *arguments)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_plugin_modules_are_light(cache):
    """Importing every plugin's own module costs less than 50 ms of CPU time each beyond the kernel."""
    code = """
import time, importlib.metadata, slmk.config, slmk.registry
for entry in importlib.metadata.entry_points(group="slmk"):
    start = time.process_time(); entry.load(); print(entry.name, time.process_time() - start)
"""
    run(code, cache)
    seconds = dict(line.split() for line in run(code, cache).splitlines())
    assert seconds
    assert {name: value for name, value in seconds.items() if float(value) > 0.05} == {}


def test_torchs_compiler_is_imported_by_those_who_compile(cache):
    """It takes a second, and processes of a world that had it before they met died of gloo's threads at their end."""
    code = """
import sys, slmk
spec = {
    "run": {"env_steps": 64, "compile": "off", "eval_episodes": 0},
    "env": {"name": "gymnasium", "id": "CartPole-v1"},
    "algorithm": {"name": "ppo", "horizon": 32, "minibatches": 1},
    "memory": {"name": "rollout"},
    "network": {"actor": {"name": "mlp"}, "critic": {"name": "mlp"}},
}
slmk.run(spec, out=sys.argv[1])
print("torch" in sys.modules, "torch._dynamo" in sys.modules)
"""
    assert run(code, cache, str(cache / "runs")).splitlines()[-1] == "True False"


def test_no_public_name_is_a_module():
    """The module would take the place of the name as soon as somebody imports it: `slmk.run` worked only once."""
    assert {module.name for module in pkgutil.iter_modules(slmk.__path__)} & set(slmk.__all__) == set()
