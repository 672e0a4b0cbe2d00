"""How ``make`` sets up a virtual environment, with a uv that only says what it was asked."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
UV = """#!/bin/sh
echo "$@ [$UV_FIND_LINKS]" >> "$0.log"
"""
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


@pytest.fixture
def asked(tmp_path):
    """Runs the rule that makes the environment of a variable in a folder, and returns what uv was asked, by line."""

    def make(variable: str, **environment: str) -> list[str]:
        uv, folder = tmp_path / "uv", tmp_path / "venv"
        uv.write_text(UV)
        uv.chmod(0o755)
        # This test may itself be run by make, which hands its settings on.
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS", "PIP_", "UV_"))}
        command = ["make", f"UV={uv}", f"{variable}={folder}", "MANIFESTS=", f"{folder}/.done"]
        folder.mkdir(exist_ok=True)
        subprocess.run(command, cwd=ROOT, env=inherited | environment, check=True, capture_output=True)
        (folder / ".done").unlink()
        return (tmp_path / "uv.log").read_text().splitlines()

    return make


@pytest.mark.parametrize("variable", ["VENV", "MJLAB"])
def test_an_environment_is_made_with_pip_in_it(variable, asked, tmp_path):
    """So that ``pip install -e .`` does not mean another Python. One that is there is left as it is."""
    made, installed = asked(variable)
    assert made.startswith("venv --quiet --seed --python 3.11 ")
    assert installed.startswith("pip install ")
    (tmp_path / "venv" / "bin").mkdir()
    (tmp_path / "venv" / "bin" / "python").symlink_to(shutil.which("true"))
    (tmp_path / "uv.log").unlink()
    assert asked(variable) == [installed]


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({}, ""),
        ({"PIP_FIND_LINKS": "/one"}, "/one"),
        ({"PIP_FIND_LINKS": " /one  https://two "}, "/one,https://two"),
        ({"PIP_FIND_LINKS": "/one /two", "UV_FIND_LINKS": "/three"}, "/three"),
    ],
)
def test_uv_is_told_of_the_folders_of_wheels_that_pip_knows(environment, told, asked):
    """pip separates them by spaces and uv by commas; what uv was told itself comes first."""
    assert asked("VENV", **environment)[-1].endswith(f" [{told}]")
