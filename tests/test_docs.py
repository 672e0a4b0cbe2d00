"""The documentation is right: its code runs, its specs load, its generated pages are new, its links lead somewhere."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import slmk
from slmk import hookspecs, toolbox
from slmk.component import KINDS
from slmk.registry import get_registry

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
READMES = sorted(ROOT.glob("plugins/*/*/README.md"))
ALGORITHMS = [readme.parent for readme in READMES if readme.parent.parent.name == "algos"]
PAGES = [*sorted(DOCS.rglob("*.md")), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"))]
FENCE = re.compile(r"^```(\w*)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
METRIC = re.compile(r"[a-z]+/[a-z_]+")
SECTIONS = ["When to use it", "From paper to code", "Where it departs from the papers", "Metrics"]
"""What the README of an algorithm has, in this order."""
GENERATED = {"Options", "Results", "Specs", "Measured"}
"""What it leaves to the generated page."""


@dataclass(frozen=True)
class Block:
    """A fenced block: ``python`` and ``toml`` ones are tested unless ``no-test`` stands behind the language."""

    language: str
    words: tuple[str, ...]
    text: str

    @property
    def tested(self) -> bool:
        """Whether it is to be run or loaded."""
        return "no-test" not in self.words

    @property
    def file(self) -> str | None:
        """Where it is to be written, from ``file=PATH``."""
        return next((word.removeprefix("file=") for word in self.words if word.startswith("file=")), None)


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page."""
    found = FENCE.findall(page.read_text(encoding="utf-8"))
    return [Block(language, tuple(words.split()), text) for language, words, text in found]


def write_files(page: Path, folder: Path) -> None:
    """Write the blocks that are files."""
    for block in blocks(page):
        if block.file:
            path = folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")


def code(page: Path) -> str:
    """The page's Python, in order; it shares one namespace."""
    return "\n".join(b.text for b in blocks(page) if b.language == "python" and b.tested and not b.file)


def specs(page: Path) -> list[Block]:
    """The page's specs; those of tutorials need the tutorial's plugin, and `test_author.py` runs them."""
    found = blocks(page)
    if any(block.file == "pyproject.toml" for block in found):
        return []
    spec = re.compile(r"^(\[run\]|extends\b)", re.MULTILINE)
    return [b for b in found if b.language == "toml" and b.tested and spec.search(b.text)]


def name(page: Path) -> str:
    """The page's name in a test's id."""
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", [page for page in PAGES if code(page)], ids=name)
def test_python_blocks_run(page, tmp_path):
    """The Python of a page runs from top to bottom, beside the files that the page shows."""
    write_files(page, tmp_path)
    (tmp_path / "page.py").write_text(code(page), encoding="utf-8")
    done = subprocess.run([sys.executable, "page.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", [page for page in PAGES if specs(page)], ids=name)
def test_toml_blocks_are_right_specs(page, tmp_path, monkeypatch):
    """Every spec that a page shows loads without a problem."""
    monkeypatch.chdir(tmp_path)
    write_files(page, tmp_path)
    for block in specs(page):
        Path("block.toml").write_text(block.text, encoding="utf-8")
        assert slmk.load(block.file or "block.toml").run.env_steps > 0


@pytest.fixture(scope="module")
def generator() -> Iterator[ModuleType]:
    """``docs/generate.py`` as a module, with those beside it that it imports."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(DOCS)
        yield import_module("generate")


def test_generated_pages_are_up_to_date(generator):
    """The pages in the repository are what `make docs` would write, and there are no others among them."""
    pages = generator.pages()
    there = {path: path.read_text(encoding="utf-8") for path in pages if path.exists()}
    stale = [path.name for path, text in pages.items() if there.get(path) != text]
    assert not stale, f"run `make docs`: {', '.join(stale)}"
    assert set((DOCS / "algorithms").iterdir()) <= set(pages)


def test_every_hook_is_documented():
    """The manual has every hook with its signature, and says how the target of each kind is called."""
    manual = (DOCS / "hooks.md").read_text(encoding="utf-8")
    hooks = [hook for hook in vars(hookspecs) if hook.startswith("slmk_")]
    assert set(hooks) == {kind.hook for kind in KINDS.values()} | {"slmk_commands", "slmk_checks"}
    for hook in hooks:
        assert f"def {hook}() -> Iterable[" in manual, hook
    for kind in KINDS.values():
        assert "The target is" in (getattr(hookspecs, kind.hook).__doc__ or ""), kind.hook


@pytest.mark.parametrize("page", ["cli.md", "plugins.md"])
def test_every_flag_and_option_is_explained(page):
    """No flag of a command and no option of a component lacks its meaning."""
    lines = (DOCS / page).read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if re.search(r"\|\s+\|", line)] == []


def anchors(page: Path) -> set[str]:
    """What links to headings of a page may end with, as forges make it of the heading."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ +(.+?) *$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> list[str]:
    """Links of a page to other files and to headings, without those of the web."""
    text = re.sub(r"`[^`\n]*`", "", FENCE.sub("", page.read_text(encoding="utf-8")))
    return [link for link in LINK.findall(text) if not re.match(r"\w+:", link)]


@pytest.mark.parametrize("page", [*PAGES, ROOT / "core" / "README.md", *READMES], ids=name)
def test_links_lead_somewhere(page):
    """Every internal link is the path of a file, and its anchor a heading of that file."""
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), f"{link}: no such file"
        assert not anchor or anchor in anchors(target), f"{link}: no such heading"


def sections(page: Path) -> dict[str, str]:
    """The text under each heading of the second level."""
    _, *parts = re.split(r"^## +(.+?) *$", FENCE.sub("", page.read_text(encoding="utf-8")), flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


@pytest.mark.parametrize("folder", ALGORITHMS, ids=name)
def test_algorithms_have_the_same_sections(folder):
    """Every README of an algorithm has one shape; one that learns nothing has no equations and no metrics."""
    found, component = sections(folder / "README.md"), get_registry().find("algo", folder.name)
    learns = component.config.memory != "none"
    assert [title for title in found if title in SECTIONS] == (SECTIONS if learns else SECTIONS[:1])
    assert GENERATED.isdisjoint(found)
    assert all(text.strip() for text in found.values())


@pytest.mark.parametrize("folder", ALGORITHMS, ids=name)
def test_the_example_of_an_algorithm_is_part_of_a_right_spec(folder):
    """The first block of the README loads, with an environment, and with other parts where it names none."""
    example = tomllib.loads(next(block.text for block in blocks(folder / "README.md") if block.language == "toml"))
    config = get_registry().find("algo", example["algorithm"]["name"]).config
    spec = {"run": {"env_steps": 100_000}, "env": {"name": "gymnasium", "id": "CartPole-v1", "num_envs": 8}}
    if config.memory != "none":
        spec["memory"] = {"name": {"take": "rollout", "sample": "replay"}[config.memory]}
    spec["network"] = {role: {"name": "mlp"} for role in config.roles}
    assert slmk.load(spec | example).algorithm.component.name == folder.name


def sources(folder: Path) -> Iterator[ast.Module]:
    """The modules of a plugin, and those of the toolbox that they import from."""
    modules = [ast.parse(path.read_text(encoding="utf-8")) for path in folder.glob("src/*/*.py")]
    yield from modules
    imported = {node.module or "" for tree in modules for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    for module in imported:
        if module.startswith(f"{toolbox.__name__}."):
            yield ast.parse(Path(import_module(module).__file__ or "").read_text(encoding="utf-8"))


def objectives(tree: ast.Module) -> Iterator[str]:
    """The names under which a module has objectives."""
    for node in ast.walk(tree):
        for key, value in zip(node.keys, node.values, strict=True) if isinstance(node, ast.Dict) else ():
            match key, value:
                case ast.Constant(value=str(text)), ast.Call(func=ast.Name(id="Objective")):
                    yield text


def logged(folder: Path) -> set[str]:
    """Metrics of an algorithm: those that its source names, and norms of gradients, which the learner adds.

    The learner's norms are in the group ``update``; an algorithm with two learners moves those of one into another.
    """
    trees = list(sources(folder))
    constants = (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant))
    words = {node.value for node in constants if isinstance(node.value, str)}
    named = {word for word in words if METRIC.fullmatch(word)}
    if not named:
        return set()
    trained = {text for tree in trees for text in objectives(tree)}
    norms = {f"{text}_grad_norm" for text in trained} if len(trained) > 1 else {"grad_norm"}
    groups = {"update/", *(word for word in words if re.fullmatch(r"[a-z]+/", word))}
    return named | {group + norm for group in groups for norm in norms}


@pytest.mark.parametrize("folder", ALGORITHMS, ids=name)
def test_every_metric_is_explained(folder):
    """The table of metrics has every name that the algorithm logs, each with its meaning, and no other."""
    rows = re.findall(r"^\| (`.*?) \| (.*?) \|$", sections(folder / "README.md").get("Metrics", ""), re.MULTILINE)
    explained = [metric for names, meaning in rows for metric in METRIC.findall(names) if meaning.strip()]
    assert sorted(explained) == sorted(logged(folder))
