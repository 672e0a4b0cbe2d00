"""The page of each algorithm and of each environment backend: the README of its plugin, its options, and what was
measured beside what is published."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from os.path import normpath, relpath
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import tomli
from page_parts import HEAD, first_party, options_table, table

from slmk.component import KINDS, Component, Kind
from slmk.errors import Problem
from slmk.registry import Registry
from slmk.spec.document import read

DOCS: Final = Path(__file__).parent
ROOT: Final = DOCS.parent
_LINK = re.compile(r"(\]\()([^)\s]+)(?=\))")
_USES = {"take": "on-policy", "sample": "off-policy", "none": "none"}
"""What an algorithm learns from, by its need of a memory."""
_RANDOM = "random"
"""What every score is compared with: it has no specs, but a measured return for each environment."""


@dataclass(frozen=True)
class Family:
    """A kind of component whose members have pages."""

    kind: Kind
    pages: Path
    """Where their pages go."""


ALGORITHMS: Final = Family(KINDS["algo"], DOCS / "algorithms")
ENVIRONMENTS: Final = Family(KINDS["env"], DOCS / "environments")
FAMILIES: Final = (ALGORITHMS, ENVIRONMENTS)


def component_pages(registry: Registry) -> dict[Path, str]:
    """The content of each first-party algorithm's and backend's page, and of the lists of them, by path."""
    places = {
        ROOT / "plugins" / family.kind.folder / row.name / "README.md": (family, row.name)
        for family in FAMILIES
        for row in first_party(registry, family.kind.name)
    }
    moved = {readme: family.pages / f"{name}.md" for readme, (family, name) in places.items()}
    return {
        ALGORITHMS.pages / "README.md": _algorithms_index(registry),
        ENVIRONMENTS.pages / "README.md": _environments_index(registry),
        **{moved[readme]: _page(*place, registry, moved) for readme, place in places.items()},
    }


def algorithms_table(registry: Registry, folder: str) -> str:
    """What each first-party algorithm is and learns from, with a link to its page in `folder`."""
    rows = []
    for row in first_party(registry, "algo"):
        found = registry.find("algo", row.name)
        assert isinstance(found, Component)
        config: Any = found.config
        link = f"[`{row.name}`]({folder}{row.name}.md)"
        rows.append((link, found.summary, _USES[config.memory], ", ".join(f"`{role}`" for role in config.roles)))
    return table(("Algorithm", "What it is", "Learns from", "Networks"), rows)


def _algorithms_index(registry: Registry) -> str:
    intro = (
        "Each page says what the algorithm is, when to use it, which function is which equation, where it departs\n"
        "from the papers, what its metrics and options mean, and what was measured beside what is published.\n"
    )
    after = "[All results](../benchmarks/README.md) in one table. [How to write one](../tutorial-algorithm.md).\n"
    return "\n".join(["# Algorithms\n", HEAD, intro, algorithms_table(registry, ""), after])


def _environments_index(registry: Registry) -> str:
    intro = (
        "Each page says what a backend offers, what its steps promise, what its options mean, and which specs use it,\n"
        "with targets and what was measured.\n"
    )
    names = [row.name for row in first_party(registry, "env")]
    rows = [(f"[`{name}`]({name}.md)", registry.component("env", name).summary) for name in names]
    after = "[All results](../benchmarks/README.md) in one table. [How to write one](../tutorial-env.md).\n"
    return "\n".join(["# Environments\n", HEAD, intro, table(("Backend", "What it is"), rows), after])


def _page(family: Family, name: str, registry: Registry, moved: Mapping[Path, Path]) -> str:
    folder = ROOT / "plugins" / family.kind.folder / name
    _, _, body = (folder / "README.md").read_text(encoding="utf-8").partition("\n")
    home = f"[`slmk-{family.kind.name}-{name.replace('_', '-')}`]({relpath(folder, family.pages)})"
    found = registry.component(family.kind.name, name)
    options = f"## Options\n\nThose of {home}, under `{family.kind.header}`:\n\n{options_table(found.config)}"
    results = _random_returns() if (family, name) == (ALGORITHMS, _RANDOM) else _results(family, name)
    return "\n".join([f"# {name}\n", HEAD, _moved(body.strip(), folder, family.pages, moved), "", options, results])


def _moved(text: str, folder: Path, pages: Path, moved: Mapping[Path, Path]) -> str:
    """Markdown of a README in `folder` with links that are right in the folder `pages`, to where files `moved`."""

    def link(match: re.Match[str]) -> str:
        path, hash_, anchor = match[2].partition("#")
        if not path or re.match(r"\w+:", path):
            return match[0]
        target = Path(normpath(folder / path))
        return f"{match[1]}{relpath(moved.get(target, target), pages)}{hash_}{anchor}"

    fences = re.split(r"(^```.*?^```$)", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if part.startswith("```") else _LINK.sub(link, part) for part in fences)


# Results


def _results(family: Family, name: str) -> str:
    """Every spec with that component: its target, and what was measured."""
    rows = [_result(path, spec, family.pages) for path, spec in _specs() if spec[family.kind.section]["name"] == name]
    if not rows:
        return "## Results\n\nNo spec of this repository uses it, so there is nothing measured yet.\n"
    intro = (
        "Measured is the mean over seeds ± its standard deviation, at the end of the budget: of the last 100 training\n"
        "episodes, or of the last evaluation where it says so. [Results](../benchmarks/README.md) has intervals and\n"
        "commits. A target is what the spec asks for; behind it stand its source and the published score.\n"
    )
    header = ("Spec", "Environment", "Env steps", "Target", "Measured", "Seeds", "Reached")
    return f"## Results\n\n{intro}\n{table(header, rows)}"


def _result(path: Path, spec: dict[str, Any], pages: Path) -> tuple[str, ...]:
    record, name = _record(), path.relative_to(ROOT).as_posix()
    link = f"[`{path.parent.name}/{path.stem}`]({relpath(path, pages)})"
    result = _measured().get(name)
    if result is None:
        steps = f"{spec['run']['env_steps']:,}"
        target = record.target_words(spec.get("target"))
        return link, spec["env"]["id"], steps, target, "not yet run", "", ""
    steps, target = f"{result['env_steps']:,}", record.target_words(result["summary"]["target"])
    seeds, reached = str(len(result["seeds"])), record.reached_words(result)
    return link, result["env"]["id"], steps, target, record.score_words(result), seeds, reached


def _random_returns() -> str:
    """The random policy's return in each environment, from the files beside the specs."""
    files = sorted((ROOT / "specs").rglob("baselines.toml"))
    found = {name: each for path in files for name, each in tomli.loads(path.read_text(encoding="utf-8")).items()}
    rows = [(n, f"{each['mean']:.1f} ± {each['std']:.1f}", str(each["episodes"])) for n, each in sorted(found.items())]
    intro = "Mean return and its standard deviation over episodes, as `slmk baseline` wrote them beside the specs.\n"
    return f"## Results\n\n{intro}\n{table(('Environment', 'Return', 'Episodes'), rows)}"


@cache
def _specs() -> tuple[tuple[Path, dict[str, Any]], ...]:
    """Every spec, merged over what it extends, but not checked: what it needs may be missing here."""
    return tuple(_read(_record().spec_files()))


def _read(files: list[Path]) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in files:
        problems: list[Problem] = []
        document = read(path, problems)
        assert not problems, problems
        yield path, document.data


@cache
def _measured() -> dict[str, dict[str, Any]]:
    """Results files by the path of their spec."""
    return {result["spec"]: result for result in _record().results()}


@cache
def _record() -> ModuleType:
    """``docs/benchmarks/record.py``, which knows the results files."""
    spec = spec_from_file_location("docs_record", DOCS / "benchmarks" / "record.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
