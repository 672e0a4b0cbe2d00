"""Scores of several runs as points with intervals, one row each, as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from slmk_reporter_report.chart import COLOURS
from slmk_reporter_report.formats import number, tick_labels
from slmk_reporter_report.scale import Scale, fit

__all__ = ["forest"]

WIDTH, ROW, BOTTOM, LEFT, RIGHT = 520, 30, 26, 12, 70


def forest(title: str, rows: Sequence[tuple[int, Mapping[str, Any]]]) -> Markup:
    """One row for each run: its seeds as ticks, the interquartile mean as a dot, the 95 % interval as a bar.

    Args:
        title: read aloud by screen readers.
        rows: the colour and the described score (`slmk.statistics.describe`) of each run, from the top.
    """
    known = [score for _, score in rows if score["iqm"] is not None]
    values = [np.array([*(v for v in score["values"] if v is not None), *_ends(score)]) for score in known]
    x = fit(values, LEFT, WIDTH - RIGHT)
    height = ROW * len(rows) + BOTTOM
    body = Markup("").join(
        [*_axis(x, height), *(_row(colour, score, ROW * (i + 0.5), x) for i, (colour, score) in enumerate(rows))]
    )
    return Markup('<svg class="forest" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, height, title, body
    )


def _ends(score: Mapping[str, Any]) -> Sequence[float]:
    """The ends of the interval; of one seed, which has none, its score."""
    return score["ci95"] or (score["iqm"], score["iqm"])


def _axis(x: Scale, height: int) -> list[Markup]:
    ticks = x.ticks(4)
    return [
        Markup('<path class="grid" d="M{0:.1f} 0V{1}"/><text class="x" x="{0:.1f}" y="{2}">{3}</text>').format(
            place, height - BOTTOM, height - 8, label
        )
        for place, label in zip(x(ticks).tolist(), tick_labels(ticks), strict=True)
    ]


def _row(colour: int, score: Mapping[str, Any], y: float, x: Scale) -> Markup:
    end = WIDTH - RIGHT + 8
    if score["iqm"] is None:
        return Markup('<text class="value" x="{}" y="{:g}">–</text>').format(end, y + 4)
    seeds = x([value for value in score["values"] if value is not None]).tolist()
    low, high = x(_ends(score)).tolist()
    return Markup('<g class="c{}">{}{}</g><text class="value" x="{}" y="{:g}">{}</text>').format(
        colour % COLOURS,
        Markup("").join(Markup('<path class="tick" d="M{:.1f} {:g}v12"/>').format(seed, y - 6) for seed in seeds),
        Markup('<path class="bar" d="M{:.1f} {:g}H{:.1f}"/><circle cx="{:.1f}" cy="{:g}" r="5"/>').format(
            low, y, high, float(x(score["iqm"])), y
        ),
        end,
        y + 4,
        number(score["iqm"]),
    )
