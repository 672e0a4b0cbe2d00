"""The reporter ``tensorboard``: rows as scalars over environment steps, written by TensorBoard's own writer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from time import time
from typing import Any, ClassVar, Literal

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.record_writer import RecordWriter

from slmk.run_directory import RESOLVED
from slmk_reporter_tensorboard import TensorBoardConfig

__all__ = ["TensorBoard"]

FOLDER = "tensorboard"
KEYS = ("kind", "seed", "env_steps")
"""What identifies a row rather than measures something."""

PREFIX = "events.out.tfevents."
"""How the names of event files start; ten digits follow, the second of their making."""


class TensorBoard:
    """Writes event files into ``<seed directory>/tensorboard``. Each row is on the disk when `report` returns."""

    scope: ClassVar[Literal["seed", "trial"]] = "seed"

    def __init__(self, config: TensorBoardConfig, directory: Path) -> None:
        self.directory = directory
        self._writer: RecordWriter | None = None

    def start(self, run: Mapping[str, Any]) -> None:
        """Open an event file: the first one with the spec as text; on resume, hiding what came after the checkpoint.

        Args:
            run: the manifest, with ``resume_from``: the env steps of the checkpoint that a resumed run goes on from.
        """
        folder, resume_from = self.directory / FOLDER, run.get("resume_from")
        first = not any(folder.glob(PREFIX + "*"))
        self._writer = RecordWriter(_next_file(folder).open("xb"))
        self._write(file_version="brain.Event:2")
        if first or resume_from is None:
            self._write(step=0, summary=text_pb("spec", _spec(self.directory.parent)))
        else:
            # Readers drop everything of earlier files from this step on.
            self._write(step=resume_from + 1, session_log=SessionLog(status=SessionLog.START))

    def report(self, row: Mapping[str, Any]) -> None:
        """Write each number of a row as a scalar under its own key; null, and text, have no place in a curve."""
        scalars = [
            Summary.Value(tag=key, simple_value=value)
            for key, value in row.items()
            if key not in KEYS and isinstance(value, int | float)
        ]
        self._write(step=row["env_steps"], summary=Summary(value=scalars))

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Close the file."""
        assert self._writer is not None
        self._writer.close()

    def _write(self, **event: Any) -> None:
        assert self._writer is not None
        self._writer.write(Event(wall_time=time(), **event).SerializeToString())
        self._writer.flush()


def _next_file(folder: Path) -> Path:
    """The path of a new event file, which sorts after all that the folder has.

    Readers take the files in the order of their names. The second of the clock alone would not give it: two sessions
    may start within one, and clocks are set back.
    """
    folder.mkdir(parents=True, exist_ok=True)
    latest = max((int(path.name[len(PREFIX) :][:10]) for path in folder.glob(PREFIX + "*")), default=0)
    return folder / f"{PREFIX}{max(int(time()), latest + 1):010d}.slmk"


def _spec(run: Path) -> str:
    """The resolved spec of a run as Markdown."""
    path = run / RESOLVED
    return f"```toml\n{path.read_text(encoding='utf-8')}\n```" if path.exists() else f"no {RESOLVED}"
