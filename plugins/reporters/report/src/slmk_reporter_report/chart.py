"""Line charts as SVG. Colours are classes, so that the style sheet decides them, for light and for dark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from markupsafe import Markup

from slmk_reporter_report.curves import Curve, Spread
from slmk_reporter_report.formats import tick_labels
from slmk_reporter_report.scale import Array, Scale, fit

__all__ = ["COLOURS", "LARGE", "SMALL", "Chart", "Mean", "Rule", "Size"]

COLOURS = 8
"""Colours of the style sheet; runs beyond them begin again with the first."""


@dataclass(frozen=True, slots=True)
class Size:
    """Width and height of a chart and the room for its labels, in pixels of the page at its full width."""

    width: int
    height: int
    left: int
    right: int
    top: int = 8
    bottom: int = 26
    ticks: tuple[int, int] = (4, 4)
    """About how many labels the axes bear: horizontal, vertical."""


LARGE = Size(1056, 400, left=52, right=100, bottom=44, ticks=(8, 6))
SMALL = Size(330, 150, left=44, right=10)


@dataclass(frozen=True, slots=True)
class Mean:
    """The mean curve of a run with its band, in the run's colour."""

    label: str
    spread: Spread
    colour: int = 0


@dataclass(frozen=True, slots=True)
class Rule:
    """A level across the chart, named at its right end."""

    kind: str
    """Class of the style sheet: ``target`` or ``random``."""
    label: str
    level: float


@dataclass(frozen=True, slots=True)
class Chart:
    """What is drawn, from back to front: bands, rules, seeds, means, points."""

    title: str
    """Read aloud by screen readers."""
    end: float
    """Last environment step of the horizontal axis, which begins at 0."""
    means: Sequence[Mean] = ()
    seeds: Sequence[tuple[int, Curve]] = ()
    """Thin curves with their colours."""
    points: Sequence[tuple[int, Curve]] = ()
    """Single values with their colours."""
    rules: Sequence[Rule] = ()
    size: Size = field(default=SMALL)
    x_label: str = ""

    def svg(self) -> Markup:
        """The drawing as an ``<svg>`` element, the same for the same chart."""
        size = self.size
        x = Scale(0, max(self.end, 1), size.left, size.width - size.right)
        y = fit(self._values(), size.height - size.bottom, size.top)
        body = Markup("").join(
            [
                *_axes(x, y, size, self.x_label),
                *(_band(mean, x, y) for mean in self.means if np.any(mean.spread.low < mean.spread.high)),
                *_rules(self.rules, y, size),
                *(_seed(colour, one, x, y) for colour, one in self.seeds),
                *(_mean(mean, x, y) for mean in self.means),
                *(_dot(colour, cx, cy) for colour, one in self.points for cx, cy in _places(one.x, one.y, x, y)),
            ]
        )
        return Markup(
            '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}" data-x="{}" data-y="{}">{}</svg>'
        ).format(size.width, size.height, self.title, _told(x), _told(y), body)

    def _values(self) -> list[Array]:
        return [
            *(np.array([rule.level]) for rule in self.rules),
            *(edge for mean in self.means for edge in (mean.spread.low, mean.spread.high)),
            *(one.y for _, one in (*self.seeds, *self.points)),
        ]


def _axes(x: Scale, y: Scale, size: Size, x_label: str) -> list[Markup]:
    """Grid lines with their labels, the base line, the name of the horizontal axis."""
    across, up = x.ticks(size.ticks[0]), y.ticks(size.ticks[1])
    base = size.height - size.bottom
    parts = [
        Markup('<path class="grid" d="M{} {:.1f}H{}"/><text class="y" x="{}" y="{:.1f}">{}</text>').format(
            size.left, place, size.width - size.right, size.left - 8, place + 4, label
        )
        for place, label in zip(y(up), tick_labels(up), strict=True)
    ]
    parts += [
        Markup('<text class="x" x="{:.1f}" y="{}">{}</text>').format(place, base + 18, label)
        for place, label in zip(x(across), tick_labels(across), strict=True)
    ]
    parts.append(Markup('<path class="base" d="M{} {}H{}"/>').format(size.left, base, size.width - size.right))
    if x_label:
        middle = (size.left + size.width - size.right) / 2
        parts.append(Markup('<text class="x" x="{:g}" y="{}">{}</text>').format(middle, size.height - 4, x_label))
    return parts


def _rules(rules: Sequence[Rule], y: Scale, size: Size) -> list[Markup]:
    return [
        Markup(
            '<path class="rule {0}" d="M{1} {2:.1f}H{3}"/><text class="rule {0}" x="{4}" y="{5:.1f}">{6}</text>'
        ).format(
            rule.kind, size.left, place, size.width - size.right, size.width - size.right + 8, place + 4, rule.label
        )
        for rule, place in ((rule, float(y(rule.level))) for rule in rules)
    ]


def _band(mean: Mean, x: Scale, y: Scale) -> Markup:
    spread = mean.spread
    steps, edge = np.concatenate([spread.x, spread.x[::-1]]), np.concatenate([spread.high, spread.low[::-1]])
    return Markup('<polygon class="band c{}" points="{}"/>').format(_colour(mean.colour), _points(steps, edge, x, y))


def _mean(mean: Mean, x: Scale, y: Scale) -> Markup:
    classes = f"mean c{_colour(mean.colour)}"
    return Markup('<polyline class="{}" data-label="{}" points="{}"/>').format(
        classes, mean.label, _points(mean.spread.x, mean.spread.mean, x, y)
    )


def _seed(colour: int, one: Curve, x: Scale, y: Scale) -> Markup:
    return Markup('<polyline class="seed c{}" points="{}"/>').format(_colour(colour), _points(one.x, one.y, x, y))


def _dot(colour: int, x: float, y: float) -> Markup:
    return Markup('<circle class="c{}" cx="{:.1f}" cy="{:.1f}" r="3"/>').format(_colour(colour), x, y)


def _points(steps: Array, values: Array, x: Scale, y: Scale) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in _places(steps, values, x, y))


def _places(steps: Array, values: Array, x: Scale, y: Scale) -> list[tuple[float, float]]:
    return list(zip(x(steps).tolist(), y(values).tolist(), strict=True))


def _colour(index: int) -> int:
    return index % COLOURS


def _told(scale: Scale) -> str:
    """A scale for the page's script, which reads values off the drawing."""
    return f"{scale.low:.9g},{scale.high:.9g},{scale.start:g},{scale.end:g},{int(scale.log)}"
