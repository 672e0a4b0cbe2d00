"""Numbers as people read them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

__all__ = ["NONE", "duration", "integer", "interval", "level", "number", "spread", "tick_labels", "value"]

NONE = "–"
"""Stands where there is no value."""
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(x: float | None) -> str:
    """About four significant digits: ``1,234`` ``123.4`` ``1.23`` ``0.012`` ``3.20×10⁻⁵``; a dash for None."""
    if x is None:
        return NONE
    exponent = _exponent(x)
    return _fixed(x, _decimals(x)) if exponent is None else f"{_fixed(x / 10.0**exponent, 2)}{_power(exponent)}"


def spread(mean: float | None, std: float | None) -> str:
    """``mean ± std`` with the same decimals and, for numbers out of the ordinary, one power of ten."""
    if mean is None or std is None:
        return number(mean)
    exponent = _exponent(mean)
    if exponent is None:
        return f"{_fixed(mean, _decimals(mean))} ± {_fixed(std, _decimals(mean))}"
    unit = 10.0**exponent
    return f"({_fixed(mean / unit, 2)} ± {_fixed(std / unit, 2)}){_power(exponent)}"


def interval(ends: Sequence[float] | None) -> str:
    """``[low, high]`` with the same decimals and, for numbers out of the ordinary, one power of ten."""
    if ends is None:
        return NONE
    low, high = ends
    largest = max(low, high, key=abs)
    exponent = _exponent(largest)
    if exponent is None:
        return f"[{_fixed(low, _decimals(largest))}, {_fixed(high, _decimals(largest))}]"
    unit = 10.0**exponent
    return f"[{_fixed(low / unit, 2)}, {_fixed(high / unit, 2)}]{_power(exponent)}"


def level(x: float | None) -> str:
    """A number that somebody chose, such as a target: as it was written."""
    return NONE if x is None else f"{x:,.6g}".replace("-", "−")


def integer(x: int | None) -> str:
    """With a comma at the thousands."""
    return NONE if x is None else f"{x:,}"


def duration(seconds: float | None) -> str:
    """``34 s``, ``12 min 05 s`` or ``3 h 20 min``."""
    if seconds is None:
        return NONE
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def value(x: Any) -> str:
    """A value of a spec, as TOML writes it; a dash where there is none."""
    if x is None:
        return NONE
    if isinstance(x, bool):
        return str(x).lower()
    return ", ".join(map(value, x)) or "empty" if isinstance(x, list) else str(x)


def tick_labels(ticks: Sequence[float]) -> list[str]:
    """Labels of an axis in one unit: thousands (k) or millions (M) where the largest tick asks for it."""
    largest = max((abs(tick) for tick in ticks), default=0.0)
    unit, suffix = next(((u, s) for u, s in ((1e9, "G"), (1e6, "M"), (1e4, "k")) if largest >= u), (1.0, ""))
    unit = 1e3 if suffix == "k" else unit
    return [f"{tick / unit:.6g}{suffix if tick else ''}".replace("-", "−") for tick in ticks]


def _exponent(x: float) -> int | None:
    """The power of ten to take out of a very large or very small number; None for any other."""
    ordinary = x == 0 or not math.isfinite(x) or 1e-3 <= abs(x) < 1e7
    return None if ordinary else int(f"{x:.2e}".split("e")[1])


def _decimals(x: float) -> int:
    size = abs(x)
    return 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 1 or size == 0 else 3


def _fixed(x: float, decimals: int) -> str:
    return f"{x:,.{decimals}f}".replace("-", "−")


def _power(exponent: int) -> str:
    return f"×10{str(exponent).translate(_SUPERSCRIPT)}"
