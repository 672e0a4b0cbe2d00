"""Scores a trained policy on fresh episodes, and shows or films them (`slmk eval`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slmk.errors import CheckpointError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from slmk.spec import Blueprint

__all__ = ["Score", "score"]


@dataclass(frozen=True, slots=True)
class Score:
    """The outcome of an evaluation."""

    checkpoint: Path
    episodes: int
    mean: float
    std: float
    length: float
    """Mean episode length in steps."""
    video: Path | None

    def __str__(self) -> str:
        film = f"\nvideo: {self.video}" if self.video else ""
        return (
            f"return {self.mean:.2f} ± {self.std:.2f} over {self.episodes} episodes "
            f"of {self.length:.1f} steps on average ({self.checkpoint}){film}"
        )


def score(
    path: Path, episodes: int, *, render: bool = False, video: Path | None = None, overrides: Sequence[str] = ()
) -> Score:
    """Play whole episodes with the deterministic policy of a run's best checkpoint.

    Args:
        path: a run, one of its seeds, or a checkpoint.
        episodes: how many.
        render: show them in a window.
        video: write them to this file; its suffix names the format.
        overrides: changes to the spec, such as of the environment's options.

    Raises:
        CheckpointError: there is no run or no checkpoint.
    """
    from slmk.spec import load

    spec = _resolved_spec(path)
    filmed = render or video is not None
    blueprint = load(spec, (*overrides, *(("env.render=true",) if filmed else ())))
    blueprint.env.config.prepare()  # type: ignore[attr-defined]
    return _score(blueprint, path, episodes, render=render, video=video)


def _score(blueprint: Blueprint, path: Path, episodes: int, *, render: bool, video: Path | None) -> Score:
    from slmk.assembly import build_env
    from slmk.evaluation import MAX_ENVS, play
    from slmk.policy import Policy, find_checkpoint
    from slmk.streams import Streams
    from slmk.viewer import Film, Window

    checkpoint = find_checkpoint(path)
    policy = Policy.load(checkpoint, device=blueprint.run.device)
    filmed = render or video is not None
    seed = Streams(blueprint.run.seed).integer("score")
    env = build_env(blueprint, num_envs=1 if filmed else min(episodes, MAX_ENVS), seed=seed)
    viewers: list[Callable[[npt.NDArray[np.uint8] | None], None]] = []
    with ExitStack() as stack:
        stack.callback(env.close)
        if render:
            viewers.append(stack.enter_context(Window()).show)
        if video is not None:
            viewers.append(stack.enter_context(Film(video)).add)

        def show(*_: object) -> None:
            frame = env.render()
            for viewer in viewers:
                viewer(frame)

        agent = policy.agent
        each_step = show if viewers else None
        played = play(env, agent.algorithm.policy, agent.recurrence, episodes, seed=seed, each_step=each_step)
    row = played.as_row()
    return Score(checkpoint, episodes, row["eval/return_mean"], row["eval/return_std"], row["eval/length_mean"], video)


def _resolved_spec(path: Path) -> Path:
    for folder in (path, *path.absolute().parents):
        if (folder / "resolved.toml").is_file():
            return folder / "resolved.toml"
    raise CheckpointError(f"{path} does not belong to a run: no resolved.toml above it")
