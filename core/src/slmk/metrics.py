"""The measures of a session and of a trial, from the rows that were reported.

Strength, efficiency, stability and consistency are those of SLM-Lab (Keng & Graesser 2019, "Foundations of Deep
Reinforcement Learning", and its documentation), on our return curve: the moving average over 100 episodes at each
row, R_i, at env steps t_i and after u_i updates. With R_rand the random policy's mean return, the strength at row i is
S_i = R_i − R_rand. Final scores decide; area-like ones are shown beside them.

A row has no return until the first episode has ended, and none where the return is not finite. A final score is that of
the last row, and None where that has none: what has diverged is not judged by what it was before. The other scores are
those of the rows that have a return.

Efficiency is divided by Σ S as in SLM-Lab's code; its documentation says Σ 1/t. Unlike there, rows without cost are
left out of both sums, and a ratio to strengths that add up to 0 or less, of which nothing can be read, is None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from slmk.statistics import describe, finite

__all__ = ["headline", "judged", "session_summary", "shortfall", "trial_summary"]

SCORES = (
    "final_return_ma",
    "final_eval_return",
    "max_return_ma",
    "final_strength",
    "max_strength",
    "strength",
    "sample_efficiency",
    "training_efficiency",
    "stability",
)
"""What is described over seeds, final scores first."""

Rows = Sequence[Mapping[str, Any]]
Curve = npt.NDArray[np.float64]


def session_summary(rows: Rows, random_return: float | None) -> dict[str, Any]:
    """All measures of one session.

    Args:
        rows: those of ``metrics.jsonl``.
        random_return: mean return of the random policy; None if it was never measured, and strengths are None too.
    """
    train = [row for row in rows if row["kind"] == "train"]
    evaluations = [row["eval/return_mean"] for row in rows if row["kind"] == "eval"]
    scored = _scored(rows)
    returns = np.array([row["episode/return_ma"] for row in scored], dtype=float)
    last = train[-1] if train else {}
    final = finite(last.get("episode/return_ma"))
    return {
        "seed": last.get("seed"),
        "env_steps": last.get("env_steps"),
        "updates": last.get("updates"),
        "episodes": last.get("episode/count"),
        "final_return_ma": final,
        "max_return_ma": float(returns.max()) if len(returns) else None,
        "final_strength": None if final is None or random_return is None else final - random_return,
        **_strengths(scored, returns, random_return),
        "final_eval_return": finite(evaluations[-1]) if evaluations else None,
        "time/elapsed_s": last.get("time/elapsed_s"),
        "time/env_steps_per_s": last.get("time/env_steps_per_s"),
    }


def trial_summary(
    name: str,
    sessions: Sequence[Mapping[str, Any]],
    curves: Sequence[Rows],
    random_return: float | None,
    target: Mapping[str, Any] | None,
    *,
    seeds: int,
) -> dict[str, Any]:
    """All measures of a trial: each session's, their statistics, and whether the target is reached.

    Args:
        name: of the spec.
        sessions: what `session_summary` returned for each seed.
        curves: the rows of each session.
        random_return: as in `session_summary`.
        target: the spec's section ``[target]``.
        seeds: how many the trial is to have; the target is not reached before all of them are there.
    """
    scores = {name: describe([session.get(name) for session in sessions]) for name in SCORES}
    return {
        "name": name,
        "env_steps": max((session["env_steps"] or 0 for session in sessions), default=0),
        "sessions": list(sessions),
        "scores": scores,
        "consistency": consistency(curves, random_return),
        "random_return": random_return,
        "target": judged(target, scores, seeds),
    }


def consistency(curves: Sequence[Rows], random_return: float | None) -> float | None:
    """1 − 2 Σᵢ std(Sᵢ) / Σᵢ mean(Sᵢ) over sessions at each row: 1 when all sessions learn alike.

    The standard deviation is the sample's. Rows count where every session has a return. None where ΣS ≤ 0, for a
    single session, and without a random return.
    """
    if random_return is None or len(curves) < 2:
        return None
    by_step = [{row["env_steps"]: row["episode/return_ma"] for row in _scored(rows)} for rows in curves]
    shared = sorted(set.intersection(*(set(curve) for curve in by_step)))
    strength = np.array([[curve[step] for step in shared] for curve in by_step]) - random_return
    total = strength.mean(0).sum()
    return float(1 - 2 * strength.std(0, ddof=1).sum() / total) if total > 0 else None


def _scored(rows: Rows) -> list[Mapping[str, Any]]:
    """The training rows that have a return."""
    return [row for row in rows if row["kind"] == "train" and finite(row.get("episode/return_ma")) is not None]


def _strengths(rows: Rows, returns: Curve, random_return: float | None) -> dict[str, float | None]:
    names = ("strength", "max_strength", "sample_efficiency", "training_efficiency", "stability")
    if random_return is None or not len(returns):
        return dict.fromkeys(names)
    strength = returns - random_return
    return {
        "strength": float(strength.mean()),
        "max_strength": float(strength.max()),
        "sample_efficiency": efficiency(strength, np.array([row["env_steps"] for row in rows], dtype=float)),
        "training_efficiency": efficiency(strength, np.array([row["updates"] for row in rows], dtype=float)),
        "stability": stability(strength),
    }


def efficiency(strength: Curve, cost: Curve) -> float | None:
    """Σ (Sᵢ / cᵢ) / Σ Sᵢ with c the env steps or the updates: high when strength comes early. None where Σ S ≤ 0."""
    paid = cost > 0
    total = strength[paid].sum()
    return float((strength[paid] / cost[paid]).sum() / total) if total > 0 else None


def stability(strength: Curve) -> float | None:
    """1 − Σ max(0, Sᵢ − Sᵢ₊₁) / Σ Sᵢ: 1 when strength never falls. None where Σ S ≤ 0."""
    total = strength[:-1].sum()
    falls = np.clip(strength[:-1] - strength[1:], 0, None).sum()
    return float(1 - falls / total) if total > 0 else None


def judged(target: Mapping[str, Any] | None, scores: Mapping[str, Any], seeds: int) -> dict[str, Any] | None:
    """The target with the mean over seeds of the score that it names (``value``) and whether that is ``reached``.

    There is no such mean, and nothing reached, unless each of the trial's `seeds` has that score.
    """
    if target is None:
        return None
    score = scores[target["metric"]]
    known = [value for value in score["values"] if finite(value) is not None]
    value = score["mean"] if len(known) == seeds else None
    return {**target, "value": value, "reached": value is not None and value >= target["score"]}


def headline(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The score by which a trial is known, over its seeds: the one that its target names, or else the final return in
    training, or that of the last evaluation where no training episode came to its end.
    """
    scores = summary["scores"]
    usual = "final_return_ma" if scores["final_return_ma"]["mean"] is not None else "final_eval_return"
    score: dict[str, Any] = scores[(summary.get("target") or {"metric": usual})["metric"]]
    return score


def shortfall(summary: Mapping[str, Any]) -> str:
    """Why a trial may have missed its target though all is well: it is shorter than the run whose score that is.

    Empty where the target is reached, or was given for no more env steps than the trial's.
    """
    target, env_steps = summary["target"], summary["env_steps"]
    asked = (target or {}).get("env_steps") or 0
    return "" if asked <= env_steps or target["reached"] else f"after {env_steps:,} of {asked:,} env steps"
