"""Experience replay: options and registration, and the memory itself for others that are built on it.

`Replay` is imported when first used: it needs torch, which listing and checking do not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from slmk import Component, MemoryConfig, NonNegativeInt, PositiveInt, hookimpl

if TYPE_CHECKING:
    from slmk_memory_replay.replay import Replay as Replay

__all__ = ["Replay", "ReplayConfig"]


def __getattr__(name: str) -> object:
    if name != "Replay":
        raise AttributeError(f"module 'slmk_memory_replay' has no attribute {name!r}")
    return import_module("slmk_memory_replay.replay").Replay


class ReplayConfig(MemoryConfig):
    """Options of a replay. The default capacity is that of Mnih et al. (2015) and of Haarnoja et al. (2018)."""

    offers: ClassVar = "sample"

    capacity: PositiveInt = 1_000_000
    """Transitions kept, of all environments together; rounded down to a multiple of `env.num_envs`."""
    storage: Literal["device", "cpu", "disk"] = "device"
    """Where they are kept: on `run.device`, in main memory, or in files mapped into memory, below ``TMPDIR``."""
    frame_stack: NonNegativeInt = 0
    """Frames in each stack of uint8 pictures, of which every frame is then kept once; 0 keeps whole stacks."""
    sequence: PositiveInt = 1
    """Steps to train on in each sample (L): 1 for transitions, more for recurrent networks."""
    burn_in: NonNegativeInt = 0
    """Steps before these that only warm up a recurrent network: their weight is 0, unless an episode begins there."""

    def problems(self, spec: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
        """There must be room for a batch, for a step of every environment and for a sequence."""
        algorithm, env = spec.get("algorithm"), spec.get("env")
        batch_size, n_step = getattr(algorithm, "batch_size", 1), getattr(algorithm, "n_step", 1)
        num_envs = 1 if env is None else env.num_envs
        steps = self.burn_in + self.sequence
        rows = self.capacity // num_envs * num_envs
        if 0 < rows < batch_size:
            rounded = f" (rounded down to a multiple of {num_envs})" if rows < self.capacity else ""
            yield "capacity", f"{rows} transitions{rounded} are fewer than the algorithm's batch of {batch_size}"
        elif self.capacity < steps * num_envs:
            what = f"{num_envs} environments" if steps == 1 else f"{num_envs} environments × {steps} steps"
            yield "capacity", f"{self.capacity} transitions are fewer than {what}"
        if self.burn_in and self.sequence == 1:
            yield "burn_in", "warming up is for sequences: set sequence to more than 1"
        if steps > 1 and n_step > 1:
            yield "sequence", f"sequences have one-step rewards, but the algorithm's n_step is {n_step}"


@hookimpl
def slmk_memories() -> Iterable[Component]:
    """Offer ``replay``."""
    return [Component("replay", ReplayConfig, "slmk_memory_replay.replay:Replay", "the latest transitions, uniformly")]
