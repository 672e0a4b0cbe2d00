"""Writes the page: of one run, or of several side by side."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from slmk import RunError
from slmk_reporter_report.comparison import groups
from slmk_reporter_report.figures import diagnostics, ends_episodes, learning_curve, speed_card
from slmk_reporter_report.formats import duration, integer, interval, level, number, value
from slmk_reporter_report.measures import CURVE, FINAL, longest, score_rows, session_rows, typical_speed, verdict
from slmk_reporter_report.runs import RunData, differences, labels, read_run

__all__ = ["build_report"]

FILTERS = (duration, integer, interval, level, number, value)
"""What templates may do with a value."""


def build_report(run_dirs: Sequence[Path], output: Path) -> None:
    """Write one self-contained HTML page about runs: it needs no network, and the same runs give the same bytes.

    Args:
        run_dirs: run directories; finished, interrupted or still going on. Several give a page that compares them.
        output: the page; its folder is made if there is none.

    Raises:
        RunError: no run is given, or a directory is not that of a run.
        OSError: the page cannot be written.
    """
    if not run_dirs:
        raise RunError("a report needs at least one run directory")
    runs = [read_run(Path(directory)) for directory in run_dirs]
    page = _run_page(runs[0]) if len(runs) == 1 else _comparison_page(runs)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(page, encoding="utf-8")


def _run_page(run: RunData) -> str:
    names, colours = [f"mean of {len(run.rows)} seeds" if len(run.rows) > 1 else f"seed {next(iter(run.rows))}"], [0]
    return (
        _templates()
        .get_template("run.html.j2")
        .render(
            title=run.name,
            run=run,
            verdict=verdict(run),
            curve=learning_curve([run], names, colours),
            ends_episodes=ends_episodes(run),
            cards=[*diagnostics([run], names, colours), *filter(None, [speed_card([run], names, colours)])],
            final_rows=score_rows(run.summary, FINAL),
            whole=score_rows(run.summary, CURVE),
            sessions=session_rows(run),
            speed=typical_speed(run),
            elapsed=longest(run),
            resolved=_highlighted(run.resolved),
            spec=_highlighted(run.spec),
            facts=_facts(run.manifest),
        )
    )


def _comparison_page(runs: Sequence[RunData]) -> str:
    names = labels(runs)
    return (
        _templates()
        .get_template("comparison.html.j2")
        .render(
            title=f"Comparison of {len(runs)} runs",
            runs=[
                (name, run, verdict(run), score_rows(run.summary, FINAL)[0])
                for name, run in zip(names, runs, strict=True)
            ],
            groups=groups(runs, names),
            differences=differences(runs),
        )
    )


def _facts(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The manifest's lines about where and with what a run was made."""
    commit = manifest.get("commit")
    state = " (with uncommitted changes)" if commit and manifest.get("dirty") else ""
    facts = {
        "created": manifest.get("created"),
        "command": " ".join(manifest.get("command") or ()),
        "commit": f"{commit}{state}" if commit else "not in a repository",
        "device": manifest.get("device"),
        "processor": f"{manifest.get('cpu')}, {manifest.get('cores')} cores",
        "platform": manifest.get("platform"),
        "Python": manifest.get("python"),
    }
    return [(name, str(fact)) for name, fact in facts.items() if fact]


_COMMENT = re.compile(r"^((?:[^#\"']|\"(?:\\.|[^\"])*\"|'[^']*')*?)(#.*)?$")


def _highlighted(toml: str) -> Markup:
    """TOML with its tables, keys and comments in elements of their own for the style sheet."""
    return Markup("\n").join(_highlighted_line(line) for line in toml.strip().splitlines())


def _highlighted_line(line: str) -> Markup:
    match = _COMMENT.match(line)
    code, comment = match.groups() if match else (line, None)
    key, equals, value = code.partition("=")
    if code.startswith("["):
        text = Markup("<b>{}</b>").format(code)
    elif equals:
        text = Markup("<i>{}</i>{}{}").format(key, equals, value)
    else:
        text = escape(code)
    return text + Markup("<s>{}</s>").format(comment) if comment else text


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("slmk_reporter_report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {one.__name__: one for one in FILTERS}
    return environment
