"""The documentation is right: its code runs, its specs load, its generated pages are new, its links lead somewhere."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

import slmk
from slmk import hookspecs
from slmk.component import KINDS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [*sorted(DOCS.rglob("*.md")), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"))]
FENCE = re.compile(r"^```(\w*)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


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
def generator() -> ModuleType:
    """``docs/generate.py`` as a module."""
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_pages_are_up_to_date(generator):
    """The pages in the repository are what `make docs` would write."""
    stale = [path.name for path, text in generator.pages().items() if path.read_text(encoding="utf-8") != text]
    assert not stale, f"run `make docs`: {', '.join(stale)}"


def test_every_hook_is_documented():
    """The manual has every hook with its signature, and says how the target of each kind is called."""
    manual = (DOCS / "hooks.md").read_text(encoding="utf-8")
    hooks = [hook for hook in vars(hookspecs) if hook.startswith("slmk_")]
    assert set(hooks) == {kind.hook for kind in KINDS.values()} | {"slmk_commands"}
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


@pytest.mark.parametrize("page", [*PAGES, ROOT / "core" / "README.md"], ids=name)
def test_links_lead_somewhere(page):
    """Every internal link is the path of a file, and its anchor a heading of that file."""
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), f"{link}: no such file"
        assert not anchor or anchor in anchors(target), f"{link}: no such heading"
