"""What the scores of a trial mean, and the tables that show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from slmk.metrics import shortfall
from slmk_reporter_report.formats import NONE, duration, integer, interval, level, number, spread
from slmk_reporter_report.runs import RunData

__all__ = [
    "CURVE",
    "FINAL",
    "Measure",
    "ScoreRow",
    "Verdict",
    "longest",
    "score_rows",
    "session_rows",
    "typical_speed",
    "verdict",
]


@dataclass(frozen=True, slots=True)
class Measure:
    """One score: its key in ``summary.json``, its name and its meaning."""

    key: str
    name: str
    meaning: str


FINAL = (
    Measure("final_return_ma", "Final return", "mean of the last 100 episodes when training ended"),
    Measure("final_eval_return", "Evaluation return", "deterministic policy, last evaluation"),
    Measure("max_return_ma", "Best return", "highest mean of 100 successive episodes"),
    Measure("final_strength", "Final strength", "final return above the random policy"),
    Measure("max_strength", "Best strength", "best return above the random policy"),
)
"""Scores at a point of the curve: these decide."""
CURVE = (
    Measure("strength", "Strength", "return above the random policy, mean over the curve"),
    Measure("sample_efficiency", "Sample efficiency", "how early strength comes, per environment step"),
    Measure("training_efficiency", "Training efficiency", "how early strength comes, per update"),
    Measure("stability", "Stability", "1 when strength never falls"),
    Measure("consistency", "Consistency", "1 when all seeds learn alike"),
)
"""Scores of the whole curve: these describe."""


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """A line of the score table, in words."""

    measure: Measure
    spread: str
    iqm: str
    interval: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the target is reached, and the sentence that says so."""

    kind: str
    """``reached``, ``missed``, ``running`` or ``none``: a class of the style sheet."""
    title: str
    text: str


def score_rows(summary: Mapping[str, Any], measures: Sequence[Measure]) -> list[ScoreRow]:
    """The statistics over seeds of each measure; consistency is one number for the trial."""
    return [_score_row(summary, measure) for measure in measures]


def _score_row(summary: Mapping[str, Any], measure: Measure) -> ScoreRow:
    score = summary["scores"].get(measure.key)
    if score is None:
        return ScoreRow(measure, number(summary.get(measure.key)), "", "")
    if sum(value is not None for value in score["values"]) < 2:
        # One seed has a score, but no spread.
        return ScoreRow(measure, number(score["mean"]), NONE, NONE)
    return ScoreRow(measure, spread(score["mean"], score["std"]), number(score["iqm"]), interval(score["ci95"]))


def verdict(run: RunData) -> Verdict:
    """What a reader wants to know first."""
    target = run.summary.get("target")
    if run.progress < 1:
        return Verdict("running", "Not finished", f"{run.progress * 100:.0f} % of the budget used")
    if target is None:
        return Verdict("none", "No target", "the spec names no score to reach")
    reached = target["reached"]
    values = f"{target['metric']} {number(target['value'])} {'≥' if reached else '<'} {level(target['score'])}"
    if target["value"] is None:
        values = f"not every seed has a {target['metric']}"
    values = " ".join(filter(None, [values, shortfall(run.summary)]))
    return Verdict("reached" if reached else "missed", "Target reached" if reached else "Target missed", values)


def session_rows(run: RunData) -> list[list[str]]:
    """The table of seeds, in words; columns as in the template."""
    by_seed = {session["seed"]: session for session in run.summary["sessions"]}
    return [_session_row(seed, by_seed.get(seed, {})) for seed in run.rows]


def _session_row(seed: int, session: Mapping[str, Any]) -> list[str]:
    choice = (session.get("choices") or {}).get("learner")
    return [
        str(seed),
        *(integer(session.get(key)) for key in ("env_steps", "updates", "episodes")),
        *(number(session.get(key)) for key in ("final_return_ma", "final_eval_return", "max_return_ma", "strength")),
        number(session.get("time/env_steps_per_s")),
        duration(session.get("time/elapsed_s")),
        choice or NONE,
    ]


def typical_speed(run: RunData) -> float | None:
    """Environment steps per second of one seed, the median over seeds."""
    known = _known(run, "time/env_steps_per_s")
    return median(known) if known else None


def longest(run: RunData) -> float | None:
    """Seconds of wall time of the slowest seed."""
    return max(_known(run, "time/elapsed_s"), default=None)


def _known(run: RunData, key: str) -> list[float]:
    return [session[key] for session in run.summary["sessions"] if session.get(key) is not None]
