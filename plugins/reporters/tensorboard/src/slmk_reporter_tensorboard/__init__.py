"""TensorBoard event files: options and registration."""

from __future__ import annotations

from collections.abc import Iterable

from slmk import Component, ReporterConfig, hookimpl

__all__ = ["TensorBoardConfig"]


class TensorBoardConfig(ReporterConfig):
    """Options of ``tensorboard``: it has none."""


@hookimpl
def slmk_reporters() -> Iterable[Component]:
    """Offer ``tensorboard``."""
    target = "slmk_reporter_tensorboard.events:TensorBoard"
    summary = "TensorBoard event files of each seed"
    return [Component("tensorboard", TensorBoardConfig, target, summary, requires=("tensorboard",))]
