"""EnvPool environments for slmk: the options, and the hook that offers the backend."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field

from slmk.component import Component
from slmk.config import EnvConfig, NonNegativeInt
from slmk.hookspecs import hookimpl

__all__ = ["EnvPoolConfig", "slmk_env_backends"]


class EnvPoolConfig(EnvConfig):
    """Any environment of EnvPool, stepped by its C++ threads."""

    incidental: ClassVar = EnvConfig.incidental | {"camera", "evaluation_options", "max_episode_steps", "num_threads"}

    id: str
    """EnvPool's own id, such as ``HalfCheetah-v5``, ``CheetahRun-v1`` (DM Control), ``Pong-v5`` (Atari) or
    ``MuJoCoPlayground/Go1JoystickFlatTerrain-v1``."""
    num_threads: NonNegativeInt = 0
    """EnvPool's threads; 0 for one on each core, but no more than environments. Sessions that run side by side share
    the cores, since threads wait for one another in every step."""
    max_episode_steps: NonNegativeInt = 0
    """Time limit in steps, after which an episode is truncated; 0 for that of the id."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Options of the environment itself, such as ``{ frame_skip = 5 }`` or ``{ stack_num = 4 }``."""
    evaluation_options: dict[str, Any] = Field(default_factory=dict)
    """Options that differ in evaluation, such as ``{ episodic_life = false, reward_clip = false }`` for Atari."""
    groups: dict[str, Annotated[tuple[str, ...], Field(min_length=1)]] = Field(default_factory=dict)
    """Observation groups to make, each of some of EnvPool's in a row, and no others, such as
    ``{ state = ["position", "velocity"] }``. Without it they are EnvPool's own."""
    camera: Annotated[int, Field(ge=-1)] = -1
    """Number of the camera for pictures; -1 for that of the id. Robots of DM Control are followed by 0, not by -1."""

    def prepare(self) -> None:
        """Load the system's EGL before EnvPool's own copy: MuJoCo looks for one of that name when it is to render.

        Without it MuJoCo ends the process then, with a line about an OpenGL platform library. It is loaded for training
        too, after which a picture may be asked for.
        """
        import ctypes

        with suppress(OSError):
            ctypes.CDLL("libEGL.so.1", ctypes.RTLD_GLOBAL)

    def for_evaluation(self, num_envs: int) -> Self:
        """With `evaluation_options`."""
        options = {**self.options, **self.evaluation_options}
        return super().for_evaluation(num_envs).model_copy(update={"options": options})


@hookimpl
def slmk_env_backends() -> list[Component]:
    """The backend ``envpool``."""
    return [
        Component(
            name="envpool",
            config=EnvPoolConfig,
            target="slmk_env_envpool.backend:EnvPoolEnv",
            summary="EnvPool's C++ environments, the fast path on a CPU: Atari, MuJoCo, DM Control and many more.",
            requires=("envpool",),
            install="slmk-env-envpool[all]",
        )
    ]
