"""A third party's way: `slmk new`, the tutorials, `slmk check-plugin`, all outside of this repository.

A project is built into a wheel, as pip would, and the wheel is unpacked into a folder on ``PYTHONPATH``: so its entry
point is found as that of an installed plugin, without a network and without touching this environment.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tomllib
from contextlib import chdir
from zipfile import ZipFile

import pytest
from hatchling.build import build_wheel
from tests.test_docs import DOCS, ROOT, write_files

from slmk.cli import main
from slmk.component import KINDS

LINT = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
TUTORIALS = {"tutorial-env.md": "corridor", "tutorial-algorithm.md": "vanilla"}
TRAIN = """
import sys
from pathlib import Path
from slmk.cli import main

few = ["-s", "run.env_steps=1_024", "-s", "env.num_envs=4", "-s", "run.eval_episodes=1"]
codes = [main(["run", spec, *few, "--out", str(Path(spec).parent / "runs")]) for spec in sys.argv[1:]]
print("exit codes", codes)
"""
"""Runs at least two iterations of each spec; in one process, since most of the time would go into importing torch."""


def create(kind, folder):
    """`slmk new` for a component called ``mine``; the project's folder."""
    assert main(["new", kind, "mine", "--directory", str(folder)]) == 0
    return folder / f"slmk-{kind}-mine"


def write_tutorial(page, folder):
    """A project of the blocks of a tutorial."""
    write_files(DOCS / page, folder / page)
    return folder / page


def install(project):
    """Build a wheel and unpack it; the folder to put on ``PYTHONPATH``."""
    with chdir(project):
        wheel = build_wheel(str(project.parent))
    with ZipFile(project.parent / wheel) as archive:
        archive.extractall(project.parent / "site")
    return project.parent / "site"


def python(site, *arguments):
    """Run Python beside the projects, where the plugins are installed."""
    environment = {**os.environ, "PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=site.parent, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def projects(tmp_path_factory):
    """A project of each kind and both tutorials', installed: each with a spec to try it."""
    folder = tmp_path_factory.mktemp("author")
    specs = {create(kind, folder): "example.toml" for kind in KINDS}
    specs |= {write_tutorial(page, folder): f"{name}.toml" for page, name in TUTORIALS.items()}
    for project in specs:
        install(project)
    return specs


def test_plugins_run(projects):
    """Installed plugins, whether `slmk new` or a reader of the tutorials has written them, train for two iterations."""
    (site,) = {project.parent / "site" for project in projects}
    done = python(site, "-c", TRAIN, *(str(project / spec) for project, spec in projects.items()))
    assert f"exit codes {[0] * len(projects)}" in done.stdout, done.stdout + done.stderr
    for project in projects:
        rows = [json.loads(line) for line in next(project.glob("runs/*/*/seed-0/metrics.jsonl")).open()]
        assert len([row for row in rows if row["kind"] == "train"]) >= 2, project


def test_plugins_keep_the_contract(projects):
    """The tests of these plugins pass: the contract suite of their kind."""
    (site,) = {project.parent / "site" for project in projects}
    tests = [str(project / "tests") for project in projects]
    flags = ["-q", "-rA", "-p", "no:cacheprovider", "--import-mode=importlib", f"--rootdir={site.parent}"]
    done = python(site, "-m", "pytest", *flags, *tests)
    assert done.returncode == 0, done.stdout + done.stderr
    for project in projects:
        assert f"PASSED {project.name}/tests/" in done.stdout, project


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_is_clean(kind, tmp_path):
    """What `slmk new` writes satisfies this repository's own linter rules and is formatted."""
    project = create(kind, tmp_path)
    rules = ["--select", ",".join(LINT["select"]), "--ignore", ",".join(LINT["ignore"])]
    for command in (["check", *rules], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", command[0], "--no-cache", *command[1:], "."],
            cwd=project,
            capture_output=True,
        )
        assert done.returncode == 0, done.stdout.decode()
    assert len((project / "pyproject.toml").read_text().splitlines()) <= 25


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["env", "My-Env"], "try 'my_env'"),
        (["env", "class"], "no keyword of Python"),
        (["algo", "ppo"], "the algorithm 'ppo' exists already"),
        (["algo", "sac"], "the algorithm 'sac' exists already"),
        (["reporter", "console"], "the reporter 'console' exists already"),
        (["algo", "actor"], "its class would hide the 'Actor' that it imports; choose another, such as 'my_actor'"),
        (["reporter", "path"], "'Path'"),
        (["launcher", "launcher"], "'LauncherConfig'"),
        (["agent", "mine"], "'agent' is not one of"),
    ],
)
def test_new_refuses_wrong_names(arguments, words, tmp_path, capsys):
    """A name that could not be imported, hides an import or is taken: exit code 2, and nothing is written."""
    assert main(["new", *arguments, "--directory", str(tmp_path)]) == 2
    assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_new_never_overwrites(tmp_path, capsys):
    """A folder that exists is left as it is."""
    readme = create("net", tmp_path) / "README.md"
    readme.write_text("my own words")
    assert main(["new", "net", "mine", "--directory", str(tmp_path)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert readme.read_text() == "my own words"


def test_new_says_why_it_cannot_write(tmp_path, capsys):
    """A directory that cannot be made is an error without a traceback."""
    (tmp_path / "file").write_text("")
    assert main(["new", "net", "mine", "--directory", str(tmp_path / "file")]) in (1, 2)
    assert "file" in capsys.readouterr().err


@pytest.mark.parametrize("page", TUTORIALS)
def test_a_tutorial_is_short(page, tmp_path):
    """A plugin, its options and hook included, has 30 lines of code at most."""
    folder = write_tutorial(page, tmp_path)
    assert sum(code_lines(path) for path in folder.glob("src/*/*.py")) <= 30


def code_lines(path):
    """Lines with code on them: neither blank, nor comment, nor docstring."""
    tree = ast.parse(path.read_text())
    prose = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            prose |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines = enumerate(path.read_text().splitlines(), 1)
    return sum(1 for number, line in lines if line.strip() and not line.strip().startswith("#") and number not in prose)


def test_check_plugin_names_the_broken_promise(tmp_path):
    """`slmk check-plugin` prints a line for each check and exits with 3 where an end is both terminal and a cut."""
    project = create("env", tmp_path)
    module = project / "src" / "slmk_env_mine" / "env.py"
    right = module.read_text()
    module.write_text(right.replace("terminated = torch.zeros_like(truncated)", "terminated = truncated"))
    assert module.read_text() != right
    done = python(install(project), "-m", "slmk", "check-plugin", "env", "mine")
    assert done.returncode == 3, done.stdout + done.stderr
    failed = [line.split()[1] for line in done.stdout.splitlines() if line.strip().startswith("failed")]
    assert failed == ["ends_are_exclusive"]


def test_check_plugin_wants_right_options(capsys):
    """Options are checked as those of a spec are, and what a component requires is asked for."""
    assert main(["check-plugin", "env", "gymnasium", "-s", "num_envs=two", "-s", "idd=CartPole-v1"]) == 2
    words = capsys.readouterr().err
    assert "num_envs: wrong type" in words
    assert "idd: unknown key" in words
    assert "give it by -s id=…" in words


def test_check_plugin_knows_what_is_installed(capsys):
    """A name that no plugin offers is an error of the command line, with the nearest name."""
    assert main(["check-plugin", "algo", "pppo"]) == 2
    assert "did you mean 'ppo'?" in capsys.readouterr().err
