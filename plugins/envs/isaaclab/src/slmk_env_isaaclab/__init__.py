"""Isaac Lab for slmk: the options, and the hook that offers the backend."""

from __future__ import annotations

import atexit
import sys
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from slmk.component import Component
from slmk.config import EnvConfig, PositiveInt
from slmk.hookspecs import hookimpl

__all__ = ["IsaacLabConfig", "slmk_env_backends"]

_apps: list[Any] = []
"""Isaac Sim's application, once it was started: a process has one."""


class IsaacLabConfig(EnvConfig):
    """Any single-agent task of Isaac Lab, manager-based or direct, N of them in one simulation on `run.device`."""

    incidental: ClassVar = EnvConfig.incidental | {"app", "kit", "packages"}

    id: str
    """The task's name in Gymnasium's registry, such as ``Isaac-Ant-v0`` (Isaac Lab 2) or ``Isaac-Ant`` (3)."""
    num_envs: PositiveInt = 4096
    """Environments stepped together (N)."""
    packages: tuple[str, ...] = ("isaaclab_tasks",)
    """Packages that register tasks when they are imported."""
    presets: tuple[str, ...] = ()
    """Presets of the task's configuration to choose, such as ``newton_mjwarp``; Isaac Lab 3 has them."""
    overrides: dict[str, Any] = Field(default_factory=dict)
    """Values of the task's configuration, as tables or by dotted keys: ``{ "rewards.alive.weight" = 2.0 }``."""
    clip_actions: Annotated[float, Field(ge=0)] = 0.0
    """Bound of each action's absolute value, which makes the action space a box; 0 for the task's own bounds, which
    manager-based tasks do not have."""
    kit: bool = True
    """Start Isaac Sim's application. Isaac Lab 3 needs none for tasks on Newton without cameras."""
    app: dict[str, Any] = Field(default_factory=dict)
    """Further arguments of ``isaaclab.app.AppLauncher``: ``{ device = "cuda:1", livestream = 2 }``."""

    def prepare(self) -> None:
        """Start the application, before which nothing of Isaac Lab may be imported; it is closed when Python ends.

        It takes no notice of the command line, which is slmk's.
        """
        if not self.kit or _apps:
            return
        from isaaclab.app import AppLauncher

        arguments, sys.argv = sys.argv, sys.argv[:1]
        try:
            launched = AppLauncher({"headless": True, "enable_cameras": self.render, **self.app})
        finally:
            sys.argv = arguments
        _apps.append(launched.app)
        # Closing it may end the process, so that it has to come last.
        atexit.register(launched.app.close)

    def problems(self, spec: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
        """There is one simulation in a process, so that training leaves no room for evaluation."""
        if "run" in spec and spec["run"].eval_episodes:
            yield "", "Isaac Lab has one simulation per process: set run.eval_episodes = 0, and score with `slmk eval`"


@hookimpl
def slmk_env_backends() -> list[Component]:
    """The backend ``isaaclab``."""
    return [
        Component(
            name="isaaclab",
            config=IsaacLabConfig,
            target="slmk_env_isaaclab.backend:IsaacLabEnv",
            summary="Isaac Lab: manager-based and direct tasks on PhysX or Newton, thousands of robots on one GPU.",
            requires=("isaaclab", "isaaclab_tasks"),
            install="isaaclab[isaacsim,all]",
            install_note="with --extra-index-url https://pypi.nvidia.com",
        )
    ]
