"""What a page that compares runs shows: one group of runs for each environment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from slmk.statistics import probability_of_improvement
from slmk_reporter_report.figures import Card, diagnostics, learning_curve, speed_card
from slmk_reporter_report.formats import NONE
from slmk_reporter_report.intervals import forest
from slmk_reporter_report.measures import CURVE, FINAL, Measure, ScoreRow, score_rows
from slmk_reporter_report.runs import RunData

__all__ = ["Group", "Table", "groups", "improvement"]

DECISIVE = FINAL[:2]
"""Measures that are compared with intervals and probabilities."""


@dataclass(frozen=True, slots=True)
class Table:
    """One measure of several runs: a row for each, and how likely a seed of one beats a seed of another."""

    measure: Measure
    forest: Markup
    improvement: list[list[float | None]]


@dataclass(frozen=True, slots=True)
class Group:
    """Runs in the same environment, which can be compared."""

    env: str
    names: list[str]
    colours: list[int]
    curve: Markup | None
    tables: list[Table]
    scores: list[tuple[Measure, list[ScoreRow]]]
    """Each measure with the row of each run."""
    cards: list[Card]


def groups(runs: Sequence[RunData], names: Sequence[str]) -> list[Group]:
    """The runs by their environments, in the order given; a run keeps its colour on the whole page."""
    envs = dict.fromkeys(run.env for run in runs)
    return [_group(env, [i for i, run in enumerate(runs) if run.env == env], runs, names) for env in envs]


def improvement(scores: Sequence[Sequence[float | None]]) -> list[list[float | None]]:
    """P(row > column) for the seeds' scores of each run; None on the diagonal and where a run has no score.

    Agarwal et al. 2021, arXiv:2108.13264, section 4.3.
    """
    known = [[value for value in values if value is not None] for values in scores]
    return [[None if a is b or not (a and b) else probability_of_improvement(a, b) for b in known] for a in known]


def _group(env: str, members: list[int], all_runs: Sequence[RunData], all_names: Sequence[str]) -> Group:
    runs, names = [all_runs[i] for i in members], [all_names[i] for i in members]
    speed = speed_card(runs, names, members)
    scores = [(m, [score_rows(run.summary, [m])[0] for run in runs]) for m in (*FINAL, *CURVE)]
    return Group(
        env=env,
        names=names,
        colours=members,
        curve=learning_curve(runs, names, members),
        tables=[table for measure in DECISIVE if (table := _table(measure, runs, members)) is not None],
        scores=[(measure, row) for measure, row in scores if any(cell.spread != NONE for cell in row)],
        cards=[*diagnostics(runs, names, members), *filter(None, [speed])],
    )


def _table(measure: Measure, runs: Sequence[RunData], colours: Sequence[int]) -> Table | None:
    scores: list[Any] = [run.summary["scores"][measure.key] for run in runs]
    if all(score["iqm"] is None for score in scores):
        return None
    return Table(
        measure,
        forest(measure.name, list(zip(colours, scores, strict=True))),
        improvement([score["values"] for score in scores]),
    )
