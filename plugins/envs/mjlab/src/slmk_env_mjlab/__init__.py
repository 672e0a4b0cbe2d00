"""mjlab for slmk: the options, and the hook that offers the backend."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field

from slmk.component import Component
from slmk.config import EnvConfig, PositiveInt
from slmk.findings import Check
from slmk.hookspecs import hookimpl

__all__ = ["MjlabConfig", "slmk_checks", "slmk_env_backends"]


class MjlabConfig(EnvConfig):
    """Any task of mjlab's registry, N of them in one simulation of MuJoCo Warp on `run.device`."""

    incidental: ClassVar = EnvConfig.incidental | {"play"}

    id: str
    """mjlab's name of the task, such as ``Mjlab-Velocity-Flat-Unitree-Go1``."""
    num_envs: PositiveInt = 4096
    """Environments stepped together (N)."""
    play: bool = False
    """Take the task's configuration for playing rather than that for training: mjlab's have no noise on observations,
    no pushes and no curriculum. The time limit stays that of training. Evaluation always plays."""
    overrides: dict[str, Any] = Field(default_factory=dict)
    """Values of the task's configuration, as tables or by dotted keys: ``{ "rewards.upright.weight" = 2.0 }``."""
    clip_actions: Annotated[float, Field(ge=0)] = 0.0
    """Bound of each action's absolute value, which makes the action space a box; 0 for none, as mjlab has it."""

    def prepare(self) -> None:
        """Set what mjlab and MuJoCo read at import, unless the user has set it: how pictures are made, and quiet."""
        os.environ.setdefault("MJLAB_WARP_QUIET", "1")
        if sys.platform.startswith("linux"):
            os.environ.setdefault("MUJOCO_GL", "egl")

    def for_evaluation(self, num_envs: int) -> Self:
        """For playing."""
        return super().for_evaluation(num_envs).model_copy(update={"play": True})


@hookimpl
def slmk_env_backends() -> list[Component]:
    """The backend ``mjlab``."""
    return [
        Component(
            name="mjlab",
            config=MjlabConfig,
            target="slmk_env_mjlab.backend:MjlabEnv",
            summary="mjlab: Isaac Lab's manager-based tasks on MuJoCo Warp, thousands of robots on one device.",
            requires=("mjlab",),
            install="slmk-env-mjlab[all]",
            install_note="in an environment of its own: Playground needs another MuJoCo",
        )
    ]


@hookimpl
def slmk_checks() -> list[Check]:
    """Whether pictures can be drawn."""
    from slmk.toolbox.mujoco_rendering import mujoco_rendering

    return [mujoco_rendering]
