"""The reporter ``jsonl``: every row of a session as one line of ``metrics.jsonl``, the truth of a run."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Literal, TextIO

from slmk.builtin import JsonlConfig
from slmk.files import replacing, writing
from slmk.run_directory import METRICS

__all__ = ["Jsonl", "read_rows"]


class Jsonl:
    """Appends rows, each on the disk's way as soon as it is there.

    What cannot be written ends the run with a `RunError`: summaries and a resume are made of these rows.
    """

    scope: ClassVar[Literal["seed", "trial"]] = "seed"

    def __init__(self, config: JsonlConfig, directory: Path) -> None:
        self.path = directory / METRICS
        self._file: TextIO | None = None

    def start(self, run: Mapping[str, Any]) -> None:
        """Open the file; when resuming, drop what was reported after the checkpoint first."""
        resume_from = run.get("resume_from")
        with writing(self.path):
            if resume_from is not None and self.path.exists():
                self._rewrite(row for row in read_rows(self.path) if row["env_steps"] <= resume_from)
            self._file = self.path.open("a", buffering=1, encoding="utf-8")

    def report(self, row: Mapping[str, Any]) -> None:
        """Write one row; what is not finite becomes null."""
        assert self._file is not None
        with writing(self.path):
            self._file.write(_line(row))

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Close the file."""
        assert self._file is not None
        with writing(self.path):
            self._file.close()

    def close(self) -> None:
        """The same after an error, such as that of a full disk, on which the rest of a line cannot be written."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()

    def _rewrite(self, rows: Iterable[Mapping[str, Any]]) -> None:
        with replacing(self.path) as temporary, temporary.open("w", encoding="utf-8") as file:
            file.writelines(_line(row) for row in rows)
            file.flush()
            os.fsync(file.fileno())


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a ``metrics.jsonl``, without a last line that a crash cut off; empty if there is no file."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def _line(row: Mapping[str, Any]) -> str:
    finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
    return json.dumps(finite) + "\n"
