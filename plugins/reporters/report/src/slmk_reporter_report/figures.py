"""Which charts a page has: the learning curve, and a small multiple for each metric."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from markupsafe import Markup

from slmk_reporter_report.chart import LARGE, Chart, Mean, Rule
from slmk_reporter_report.curves import Curve, curve, interval_of_mean, range_of_seeds, speed, thinned
from slmk_reporter_report.formats import level, number
from slmk_reporter_report.runs import Row, RunData

__all__ = ["Card", "diagnostics", "ends_episodes", "learning_curve", "speed_card"]

RETURN, EVALUATION = "episode/return_ma", "eval/return_mean"
GROUPS = ("loss", "policy", "value", "update")
"""Groups of metrics that come first; the others follow by their names."""
HIDDEN = ("kind", "seed", "env_steps", "updates", "episode/return", RETURN, "episode/count")
"""Keys of training rows that are no diagnostics, or have a chart of their own."""


@dataclass(frozen=True, slots=True)
class Card:
    """A small chart with its heading."""

    title: str
    latest: str
    """The last mean over seeds, where there is one run; a dash where the last value of a seed is not finite."""
    svg: Markup


def ends_episodes(run: RunData) -> bool:
    """Whether any training episode came to its end: if not, the returns of a run are those of its evaluations."""
    return any(len(curve(rows, RETURN).x) for rows in run.rows.values())


def learning_curve(runs: Sequence[RunData], names: Sequence[str], colours: Sequence[int]) -> Markup | None:
    """Returns over env steps: each run's mean with its 95 % band, its evaluations, targets and the random policy.

    The mean is that of training episodes, or of evaluations where none of these came to its end.
    The seeds are drawn too where there is only one run. None where no episode has ended yet.
    """
    scored = [[curve(rows, EVALUATION) for rows in run.rows.values()] for run in runs]
    lines = [
        [curve(rows, RETURN) for rows in run.rows.values()] if ends_episodes(run) else evaluations
        for run, evaluations in zip(runs, scored, strict=True)
    ]
    if not any(len(one.x) for curves in (*lines, *scored) for one in curves):
        return None
    means = [(name, colour, interval_of_mean(c)) for name, colour, c in zip(names, colours, lines, strict=True)]
    alone = len(runs) == 1
    return Chart(
        title="Return over environment steps",
        end=_end(runs),
        means=[Mean(name, spread, colour) for name, colour, spread in means if spread is not None],
        seeds=[(colours[0], thinned(one)) for one in lines[0] if len(one.x)] if alone else (),
        points=[point for colour, c in zip(colours, scored, strict=True) for point in _evaluations(colour, c, alone)],
        rules=_rules(runs),
        size=LARGE,
        x_label="environment steps",
    ).svg()


def diagnostics(runs: Sequence[RunData], names: Sequence[str], colours: Sequence[int]) -> list[Card]:
    """A chart for each metric of the training rows: losses, policy, value, update, then the rest."""
    keys = {key for run in runs for rows in run.rows.values() for row in rows if row["kind"] == "train" for key in row}
    wanted = sorted((key for key in keys if key not in HIDDEN and not key.startswith("time/")), key=_order)
    cards = (_card(key, runs, names, colours, partial(curve, key=key)) for key in wanted)
    return [card for card in cards if card is not None]


def speed_card(runs: Sequence[RunData], names: Sequence[str], colours: Sequence[int]) -> Card | None:
    """Environment steps per second of wall time, of one seed."""
    return _card("environment steps per second", runs, names, colours, speed)


def _card(
    title: str,
    runs: Sequence[RunData],
    names: Sequence[str],
    colours: Sequence[int],
    read: Callable[[Sequence[Row]], Curve],
) -> Card | None:
    curves = [[read(rows) for rows in run.rows.values()] for run in runs]
    known = zip(names, map(range_of_seeds, curves), colours, strict=True)
    means = [Mean(name, spread, colour) for name, spread, colour in known if spread is not None]
    if not means:
        return None
    latest = None if any(one.lost for one in curves[0]) else float(means[0].spread.mean[-1])
    shown = number(latest) if len(runs) == 1 else ""
    return Card(title, shown, Chart(title=title, end=max(mean.spread.x[-1] for mean in means), means=means).svg())


def _evaluations(colour: int, curves: Sequence[Curve], alone: bool) -> Iterable[tuple[int, Curve]]:
    """Each seed's evaluations, or, beside other runs, their mean where seeds were evaluated at the same step."""
    if alone:
        return [(colour, thinned(one, 60)) for one in curves]
    together: dict[float, list[float]] = {}
    for one in curves:
        for step, value in zip(one.x.tolist(), one.y.tolist(), strict=True):
            together.setdefault(step, []).append(value)
    table = np.array([(step, np.mean(values)) for step, values in sorted(together.items())]).reshape(-1, 2)
    return [(colour, thinned(Curve(table[:, 0], table[:, 1]), 60))]


def _rules(runs: Sequence[RunData]) -> list[Rule]:
    targets: list[Any] = [run.summary.get("target") for run in runs]
    scores = dict.fromkeys(float(target["score"]) for target in targets if target and "return" in target["metric"])
    randoms = dict.fromkeys(
        run.summary["random_return"] for run in runs if run.summary.get("random_return") is not None
    )
    return [
        *(Rule("target", f"target {level(score)}", score) for score in scores),
        *(Rule("random", f"random {number(value)}", value) for value in randoms),
    ]


def _end(runs: Sequence[RunData]) -> float:
    last = [rows[-1]["env_steps"] for run in runs for rows in run.rows.values() if rows]
    return float(max([*last, *(run.manifest["env_steps"] for run in runs)]))


def _order(key: str) -> tuple[int, str]:
    group = key.split("/")[0]
    return (GROUPS.index(group) if group in GROUPS else len(GROUPS), key)
