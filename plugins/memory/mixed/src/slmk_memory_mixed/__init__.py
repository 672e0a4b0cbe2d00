"""Demonstrations beside a replay: options and registration. The memory is in `slmk_memory_mixed.mixed`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from slmk import Component, Fraction, hookimpl
from slmk_memory_replay import ReplayConfig

__all__ = ["MixedConfig"]


class MixedConfig(ReplayConfig):
    """Options of symmetric sampling, on top of those of the replay that holds the run's own experience.

    The default share is that of Ball et al. (2023), arXiv:2302.02948, section 4.1.
    """

    demonstrations: str
    """A Minari dataset: its folder, such as one that ``slmk eval RUN --record`` made, relative to the working
    directory; or the id of one among Minari's local datasets, such as ``mujoco/hopper/expert-v0``."""
    share: Fraction = 0.5
    """The part of each batch that comes from demonstrations, rounded to a whole number of samples."""

    def problems(self, spec: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
        """What a replay finds wrong; a share must have an effect, and rewards must be on the scale of the run's.

        Whether demonstrations are there is seen when the memory is built: a policy is evaluated without them.
        """
        yield from super().problems(spec)
        batch_size = getattr(spec.get("algorithm"), "batch_size", None)
        if batch_size is not None and 0 < self.share < 1:
            count = round(self.share * batch_size)
            if count == 0:
                least = f"the least share that gives one is {1 / batch_size:g}"
                yield "share", f"no sample of a batch of {batch_size} would be a demonstration: {least}"
            elif count == batch_size:
                most = f"the largest share that leaves others is {1 - 1 / batch_size:g}"
                yield "share", f"all samples of a batch of {batch_size} would be demonstrations: {most}"
        if "env" in spec and spec["env"].reward_scale != 1.0:
            yield (
                "demonstrations",
                "their rewards are the environment's own, those of the run are multiplied by "
                f"{spec['env'].reward_scale:g}: set env.reward_scale to 1",
            )


@hookimpl
def slmk_memories() -> Iterable[Component]:
    """Offer ``mixed``."""
    summary = "the latest transitions, uniformly, with a share of demonstrations"
    return [Component("mixed", MixedConfig, "slmk_memory_mixed.mixed:Mixed", summary)]
