"""A plugin with one component of each kind, which specs of tests choose from. Its targets need not exist."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from slmk import (
    AlgorithmConfig,
    Component,
    EnvConfig,
    Fraction,
    LauncherConfig,
    MemoryConfig,
    NetworkConfig,
    NonNegativeSchedule,
    NormalizerConfig,
    Positive,
    PositiveInt,
    ReporterConfig,
    hookimpl,
)


class ToyEnv(EnvConfig):
    """Options of a toy environment."""

    id: str
    """Which environment."""
    kwargs: dict[str, Any] = Field(default_factory=dict)
    """Passed on."""


class ToyAlgo(AlgorithmConfig):
    """Options with a value of every sort."""

    memory: ClassVar = "take"
    roles: ClassVar = ("policy", "value")
    normalizers: ClassVar = ("obs", "advantage")

    gamma: Fraction = 0.99
    """Discount per step."""
    lr: Positive = 1e-3
    """Learning rate."""
    clip: NonNegativeSchedule = 0.2
    """Clip range."""
    minibatches: PositiveInt = 4
    """Minibatches per epoch."""
    kind: Literal["discrete", "continuous"] = "discrete"
    """What to do."""
    warmup: int | None = None
    """Steps before learning, if any."""

    @field_validator("minibatches")
    @classmethod
    def _not_thirteen(cls, value: int) -> int:
        if value == 13:
            raise ValueError("thirteen brings bad luck")
        return value

    def problems(self, spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """A rule that needs two sections."""
        if "env" in spec and self.minibatches % spec["env"].num_envs:
            yield "minibatches", f"not a multiple of the {spec['env'].num_envs} environments"


class RandomAlgo(AlgorithmConfig):
    """An algorithm that needs nothing."""

    memory: ClassVar = "none"


class ToyRollout(MemoryConfig):
    """A memory to take from."""

    offers: ClassVar = "take"


class ToyReplay(MemoryConfig):
    """A memory to sample from."""

    offers: ClassVar = "sample"
    size: PositiveInt = 1000
    """Transitions kept."""


class ToyNet(NetworkConfig):
    """A toy network."""

    hidden: tuple[int, ...] = (64, 64)
    """Units of each layer."""


class ToyNorm(NormalizerConfig):
    """A toy normalizer."""

    momentum: Fraction = 0.9
    """Share that stays."""


class ToyReporter(ReporterConfig):
    """A toy reporter."""

    interval: PositiveInt = 1
    """Rows between two lines."""


class ToyLauncher(LauncherConfig):
    """A toy launcher."""

    workers: PositiveInt = 1
    """Processes."""


@hookimpl
def slmk_env_backends() -> list[Component]:
    """One that works and one that lacks a module."""
    lacking = Component("toy_lacking", ToyEnv, "toy:Env", "needs what is not there", ("no_such_module",), "toy[all]")
    return [Component("toy", ToyEnv, "toy:Env", "a toy"), lacking]


@hookimpl
def slmk_algorithms() -> list[Component]:
    """One that learns, one that does not, one that is outdated."""
    return [
        Component("toy", ToyAlgo, "toy:Algo", "a toy"),
        Component("toy_random", RandomAlgo, "toy:Random", "no learning"),
        Component("toy_old", ToyAlgo, "toy:Old", "of another age", api=0),
    ]


@hookimpl
def slmk_memories() -> list[Component]:
    """One of each kind."""
    return [
        Component("toy_rollout", ToyRollout, "toy:Rollout", "all at once"),
        Component("toy_replay", ToyReplay, "toy:Replay", "by drawing"),
    ]


@hookimpl
def slmk_networks() -> list[Component]:
    """One."""
    return [Component("toy", ToyNet, "toy:Net", "layers")]


@hookimpl
def slmk_normalizers() -> list[Component]:
    """One."""
    return [Component("toy", ToyNorm, "toy:Norm", "scales")]


@hookimpl
def slmk_reporters() -> list[Component]:
    """One."""
    return [Component("toy", ToyReporter, "toy:Reporter", "reports")]


@hookimpl
def slmk_launchers() -> list[Component]:
    """One."""
    return [Component("toy", ToyLauncher, "toy:Launcher", "launches")]
