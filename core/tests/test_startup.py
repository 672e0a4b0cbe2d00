"""Commands that only look start at once: no torch, no simulator, and in under half a second."""

import os
import subprocess
import sys
from pathlib import Path
from time import perf_counter

import pytest

TOY = Path(__file__).with_name("toy.toml")
COMMANDS = [["--help"], ["plugins"], ["check", str(TOY)]]
HEAVY = {"torch", "numpy", "gymnasium", "jax", "mujoco", "envpool", "rich", "structlog"}
LIMIT = 0.5


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
    """The best of some runs, since a busy machine adds to each."""
    code = "from slmk.cli import main; main()"
    run(code, cache, *arguments)
    assert min(_seconds(code, cache, arguments) for _ in range(7)) < LIMIT


def _seconds(code, cache, arguments):
    start = perf_counter()
    run(code, cache, *arguments)
    return perf_counter() - start


def test_plugin_modules_are_light(cache):
    """Importing every plugin's own module costs less than 50 ms each beyond the kernel."""
    code = """
import time, importlib.metadata, slmk.config, slmk.registry
for entry in importlib.metadata.entry_points(group="slmk"):
    start = time.perf_counter(); entry.load(); print(entry.name, time.perf_counter() - start)
"""
    run(code, cache)
    seconds = dict(line.split() for line in run(code, cache).splitlines())
    assert seconds
    assert {name: value for name, value in seconds.items() if float(value) > 0.05} == {}
