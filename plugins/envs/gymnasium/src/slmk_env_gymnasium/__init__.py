"""Gymnasium environments for slmk: the options, and the hook that offers the backend."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field

from slmk.component import Component
from slmk.config import EnvConfig, NonNegativeInt, PositiveInt
from slmk.findings import Check
from slmk.hookspecs import hookimpl

__all__ = ["GymnasiumConfig", "slmk_checks", "slmk_env_backends"]


Entries = Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)]
"""Indices along the first axis, one at least."""


class GymnasiumConfig(EnvConfig):
    """Any environment that is registered with Gymnasium."""

    incidental: ClassVar = EnvConfig.incidental | {"imports", "max_episode_steps", "vectorization"}

    id: str
    """Registered id, such as ``CartPole-v1``; ``module:Name-v0`` imports `module` first, so that it can register."""
    imports: tuple[str, ...] = ()
    """Modules to import because they register environments."""
    kwargs: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the environment itself, such as ``{ healthy_reward = 0.5 }``, passed to ``gymnasium.make``."""
    vectorization: Literal["auto", "native", "sync", "async"] = "auto"
    """How N environments are stepped: ``native`` by the environment's own vectorised class, ``sync`` one after the
    other in this process, ``async`` shared among worker processes. ``auto`` takes sync for one environment, native for
    more where there is one, and otherwise measures sync against async at the start, which give the same
    trajectories."""
    max_episode_steps: PositiveInt | Literal[0] = 0
    """Time limit in the environment's own steps, after which an episode is truncated; 0 for that of the id."""
    action_repeat: PositiveInt = 1
    """Each action is applied this many times and the rewards are added up."""
    keep: dict[str, Entries] = Field(default_factory=dict)
    """Entries of observation groups to keep, by index, such as ``{ obs = [0, 2] }``, which hides CartPole's velocities.
    Groups that are not named stay whole."""
    mask: str = ""
    """Key of ``info`` that says which discrete actions are allowed, such as ``action_mask`` of Taxi: it becomes the
    observation group ``mask``. Environments that observe a Dict with a key ``mask`` need no option."""

    def for_evaluation(self, num_envs: int) -> Self:
        """Without measuring: evaluation is too short to pay for that."""
        vectorization = "sync" if self.vectorization == "auto" else self.vectorization
        return super().for_evaluation(num_envs).model_copy(update={"vectorization": vectorization})


@hookimpl
def slmk_env_backends() -> list[Component]:
    """The backend ``gymnasium``."""
    return [
        Component(
            name="gymnasium",
            config=GymnasiumConfig,
            target="slmk_env_gymnasium.backend:GymnasiumEnv",
            summary="Any environment registered with Gymnasium: classic control, Box2D, MuJoCo, your own.",
            requires=("gymnasium",),
            install="slmk-env-gymnasium[all]",
        )
    ]


@hookimpl
def slmk_checks() -> list[Check]:
    """Which simulators Gymnasium has here, and whether pictures of MuJoCo can be drawn."""
    from slmk.toolbox.mujoco_rendering import mujoco_rendering
    from slmk_env_gymnasium.checks import simulators

    return [simulators, mujoco_rendering]
