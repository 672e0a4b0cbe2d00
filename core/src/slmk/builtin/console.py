"""The reporter ``console``: progress for people."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import Any, ClassVar, Literal

from slmk.builtin import ConsoleConfig

__all__ = ["Console"]


class Console:
    """Plain lines."""

    scope: ClassVar[Literal["seed", "trial"]] = "trial"

    def __init__(self, config: ConsoleConfig, directory: Path) -> None:
        self.config, self.directory = config, directory
        self._shown: dict[int, float] = {}

    def start(self, run: Mapping[str, Any]) -> None:
        """Say what begins."""
        print(f"{run['name']}: {self.directory}", flush=True)

    def report(self, row: Mapping[str, Any]) -> None:
        """A line now and then."""
        if row["kind"] == "train" and monotonic() - self._shown.get(row["seed"], 0) > self.config.interval:
            self._shown[row["seed"]] = monotonic()
            print(
                {
                    k: v
                    for k, v in row.items()
                    if k in ("seed", "env_steps", "episode/return_ma", "time/env_steps_per_s")
                },
                flush=True,
            )

    def finish(self, summary: Mapping[str, Any]) -> None:
        """The scores."""
        print(summary["scores"]["final_return_ma"], summary["target"], flush=True)
