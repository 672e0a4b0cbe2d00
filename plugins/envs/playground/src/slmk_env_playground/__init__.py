"""MuJoCo Playground for slmk: the options, and the hook that offers the backend."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field

from slmk.component import Component
from slmk.config import EnvConfig, NonNegativeInt, Positive, PositiveInt
from slmk.cores import cores
from slmk.findings import Check
from slmk.hookspecs import hookimpl

__all__ = ["PlaygroundConfig", "slmk_checks", "slmk_env_backends"]


class PlaygroundConfig(EnvConfig):
    """Any environment of MuJoCo Playground, N of them as one computation on `run.device`."""

    incidental: ClassVar = EnvConfig.incidental | {
        "cache",
        "camera",
        "impl",
        "max_episode_steps",
        "nan_limit",
        "num_threads",
        "pool_episodes",
        "randomize",
        "reset",
    }

    id: str
    """Playground's name, such as ``CheetahRun`` or ``Go1JoystickFlatTerrain``."""
    num_envs: PositiveInt = 1024
    """Environments stepped together (N)."""
    impl: Literal["auto", "jax", "warp"] = "auto"
    """Implementation of the physics; ``auto`` for Warp on a GPU and JAX on a CPU."""
    num_threads: NonNegativeInt = 0
    """JAX's threads on a CPU; 0 for one on each core, which sessions that run side by side share. They wait for one
    another by spinning: beside a busy process, fewer are many times faster."""
    overrides: dict[str, Any] = Field(default_factory=dict)
    """Values of the environment's own config, as tables or by dotted keys: ``{ "noise_config.level" = 0.0 }``."""
    max_episode_steps: NonNegativeInt = 0
    """Time limit in steps of the policy, after which an episode is truncated; 0 for that of the config."""
    action_repeat: NonNegativeInt = 0
    """Steps of the environment for each action, their rewards summed; 0 for that of the config."""
    randomize: bool = False
    """Give each environment physics of its own by Playground's domain randomiser; evaluation has the plain one."""
    reset: Literal["pool", "full"] = "pool"
    """Where new episodes begin: at one of N random states that are kept ready, or at one that is computed for it in
    every step (``full``), which is exact and, where resets simulate, slow."""
    pool_episodes: Positive = 10.0
    """The whole pool is renewed within the time of so many episodes of full length."""
    nan_limit: Annotated[float, Field(ge=0, le=1)] = 1e-4
    """Share of transitions that may end in numbers which are not finite. Such an episode is cut at the step before."""
    vision: bool = False
    """Observe pictures, the groups ``pixels/…``, rather than numbers, where the environment can: Warp draws them. What
    is drawn is said by ``overrides`` of ``vision_config``."""
    camera: str = ""
    """Name of the camera for pictures; empty for the free one."""
    cache: str = "~/.cache/slmk/jax"
    """Folder in which JAX keeps what it has compiled, for later runs; empty for none."""

    def prepare(self) -> None:
        """Set what JAX reads once, at import, unless the user has set it: memory, precision and compiled programs.

        JAX must not take all GPU memory, since torch needs some; Playground asks for full precision of float32 products
        on GPUs since Ampere, without which contacts become unstable.
        """
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        # JAX sets these itself while it is imported; here nobody is surprised.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
        os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
        os.environ.setdefault("JAX_DEFAULT_MATMUL_PRECISION", "highest")
        if self.render and sys.platform.startswith("linux"):
            os.environ.setdefault("MUJOCO_GL", "egl")  # Draws with a display and without.
        threads = self.num_threads or cores()
        os.environ.setdefault("NPROC", str(threads))
        if threads == 1:
            os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
        if self.cache:
            os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(self.cache).expanduser()))

    def for_evaluation(self, num_envs: int) -> Self:
        """With plain physics."""
        return super().for_evaluation(num_envs).model_copy(update={"randomize": False})


@hookimpl
def slmk_env_backends() -> list[Component]:
    """The backend ``playground``."""
    return [
        Component(
            name="playground",
            config=PlaygroundConfig,
            target="slmk_env_playground.backend:PlaygroundEnv",
            summary="MuJoCo Playground: thousands of robots as one JAX computation on one device.",
            requires=("mujoco_playground",),
            install="slmk-env-playground[all]",
        )
    ]


@hookimpl
def slmk_checks() -> list[Check]:
    """JAX's devices, the models of robots, and whether pictures can be drawn."""
    from slmk.toolbox.mujoco_rendering import mujoco_rendering
    from slmk_env_playground.checks import jax_devices, menagerie

    return [jax_devices, menagerie, mujoco_rendering]
