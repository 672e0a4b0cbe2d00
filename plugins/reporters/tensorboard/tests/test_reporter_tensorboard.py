"""The reporter ``tensorboard``, read back with TensorBoard's own reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from slmk_reporter_tensorboard import TensorBoardConfig, slmk_reporters
from slmk_reporter_tensorboard.events import TensorBoard


def train_row(env_steps: int, returns: float | None, **metrics: float) -> dict[str, Any]:
    """A row as the loop reports it."""
    return {"kind": "train", "seed": 3, "env_steps": env_steps, "episode/return_ma": returns, **metrics}


@pytest.fixture
def seed_directory(tmp_path: Path) -> Path:
    """A seed's directory inside a run directory with a resolved spec."""
    (tmp_path / "resolved.toml").write_text('name = "toy"\n\n[run]\nenv_steps = 400  # toy.toml:2\n')
    (tmp_path / "seed-3").mkdir()
    return tmp_path / "seed-3"


def write(directory: Path, rows: list[dict[str, Any]], resume_from: int | None = None) -> TensorBoard:
    """A reporter that was started and got rows, not finished."""
    reporter = TensorBoard(TensorBoardConfig(), directory)
    reporter.start({"name": "toy", "seed": 3, "resume_from": resume_from})
    for row in rows:
        reporter.report(row)
    return reporter


def read(directory: Path) -> EventAccumulator:
    """What TensorBoard finds in a seed's directory."""
    return EventAccumulator(str(directory / "tensorboard")).Reload()


def curve(directory: Path, tag: str) -> list[tuple[int, float]]:
    """Steps and values of a scalar."""
    return [(event.step, event.value) for event in read(directory).Scalars(tag)]


def test_rows_become_scalars_over_env_steps(seed_directory: Path) -> None:
    """Every number of train and eval rows is a scalar of the same name at the row's env steps; a null is left out."""
    rows = [
        train_row(100, None, **{"loss/policy": -0.5, "updates": 4}),
        train_row(200, 21.5, **{"loss/policy": 0.25, "updates": 8}),
        {"kind": "eval", "seed": 3, "env_steps": 200, "eval/return_mean": 30.0, "eval/episodes": 10},
    ]
    write(seed_directory, rows).finish({})
    assert curve(seed_directory, "episode/return_ma") == [(200, 21.5)]
    assert curve(seed_directory, "loss/policy") == [(100, -0.5), (200, 0.25)]
    assert curve(seed_directory, "eval/return_mean") == [(200, 30.0)]
    assert sorted(read(seed_directory).Tags()["scalars"]) == [
        "episode/return_ma",
        "eval/episodes",
        "eval/return_mean",
        "loss/policy",
        "updates",
    ]


def test_the_resolved_spec_is_text(seed_directory: Path) -> None:
    """The text ``spec`` holds the run's resolved.toml as a Markdown code block."""
    write(seed_directory, []).finish({})
    (event,) = read(seed_directory).Tensors("spec")
    text = event.tensor_proto.string_val[0].decode()
    assert text.startswith("```toml\n")
    assert "env_steps = 400  # toy.toml:2" in text


def test_a_row_is_on_disk_when_reported(seed_directory: Path) -> None:
    """A session that is killed loses no row that was reported before."""
    reporter = write(seed_directory, [train_row(100, 1.0)])
    assert curve(seed_directory, "episode/return_ma") == [(100, 1.0)]
    reporter.finish({})


def test_resuming_drops_what_came_after_the_checkpoint(seed_directory: Path) -> None:
    """After a crash at 400 and a resume from the checkpoint at 200 each step is there once, with the new values."""
    write(seed_directory, [train_row(step, step / 100) for step in (100, 200, 300, 400)])
    write(seed_directory, [train_row(step, -step / 100) for step in (300, 400)], resume_from=200).finish({})
    assert curve(seed_directory, "episode/return_ma") == [(100, 1.0), (200, 2.0), (300, -3.0), (400, -4.0)]
    assert len(read(seed_directory).Tensors("spec")) == 1


def test_many_sessions_within_a_second_are_read_in_their_order(seed_directory: Path) -> None:
    """Event files sort in the order of their sessions, however short these were and however many."""
    write(seed_directory, [train_row(step, 0.0) for step in (100, 200)])
    for session in range(1, 12):
        write(seed_directory, [train_row(200, float(session))], resume_from=100).finish({})
        assert curve(seed_directory, "episode/return_ma") == [(100, 0.0), (200, float(session))]


def test_resuming_from_the_beginning_hides_all_rows(seed_directory: Path) -> None:
    """A session without a checkpoint restarts at 0: nothing of the first attempt but the spec stays visible."""
    write(seed_directory, [train_row(100, 1.0)])
    write(seed_directory, [train_row(100, 7.0)], resume_from=0).finish({})
    assert curve(seed_directory, "episode/return_ma") == [(100, 7.0)]


def test_a_session_that_begins_with_a_resume_has_the_spec(seed_directory: Path) -> None:
    """The run was interrupted before this seed's turn; a second resume does not write it again."""
    write(seed_directory, [train_row(100, 1.0)], resume_from=0).finish({})
    write(seed_directory, [train_row(200, 2.0)], resume_from=100).finish({})
    assert curve(seed_directory, "episode/return_ma") == [(100, 1.0), (200, 2.0)]
    assert len(read(seed_directory).Tensors("spec")) == 1


def test_it_is_offered_by_name() -> None:
    """The plugin offers one reporter, ``tensorboard``, for each seed."""
    (component,) = slmk_reporters()
    assert (component.name, component.target) == ("tensorboard", "slmk_reporter_tensorboard.events:TensorBoard")
    assert TensorBoard.scope == "seed"
