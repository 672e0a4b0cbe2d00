"""What no run can do without, offered through the same hooks as everybody's plugins."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from slmk.component import Component
from slmk.config import LauncherConfig, NonNegativeInt, NormalizerConfig, Positive, ReporterConfig
from slmk.hookspecs import hookimpl

__all__ = ["ConsoleConfig", "JsonlConfig", "LocalConfig", "RunningConfig"]


class RunningConfig(NormalizerConfig):
    """Options of the normalizer ``running``: standardise by the mean and the variance of all data seen."""

    pooled: ClassVar = True

    clip: Positive = 10.0
    """Normalised values are clipped to ±clip standard deviations."""
    epsilon: Positive = 1e-8
    """Added to the variance, so that a constant is not divided by 0."""


class LocalConfig(LauncherConfig):
    """Options of the launcher ``local``."""

    parallel: NonNegativeInt = 0
    """Sessions at a time; 0 for one on every `run.threads` cores, or with ``run.device = "cuda"`` on every GPU."""


@hookimpl
def slmk_normalizers() -> Iterable[Component]:
    """Offer ``running``."""
    return [Component("running", RunningConfig, "slmk.builtin.running:Running", "mean and variance of all data seen")]


@hookimpl
def slmk_launchers() -> Iterable[Component]:
    """Offer ``local``."""
    return [Component("local", LocalConfig, "slmk.builtin.local:Local", "processes of this machine")]


class ConsoleConfig(ReporterConfig):
    """Options of ``console``: progress for people."""

    interval: Positive = 10.0
    """Seconds between two lines of a session where the output is no terminal; on one, a panel is redrawn instead."""


class JsonlConfig(ReporterConfig):
    """Options of ``jsonl``: it has none."""


@hookimpl
def slmk_reporters() -> Iterable[Component]:
    """Offer ``console`` and ``jsonl``."""
    return [
        Component("console", ConsoleConfig, "slmk.builtin.console:Console", "progress and scores on the terminal"),
        Component("jsonl", JsonlConfig, "slmk.builtin.jsonl:Jsonl", "every row as a line of metrics.jsonl"),
    ]
