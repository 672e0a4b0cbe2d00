"""One session: everything mutable of a training run with one seed, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import Any

import structlog
import torch
from torch import Tensor

from slmk import world
from slmk.assembly import build_agent, build_env, build_memory
from slmk.checked import CheckedEnv
from slmk.evaluation import Evaluator
from slmk.protocols import Env, Memory, Metrics
from slmk.registry import Registry
from slmk.scaled import ScaledEnv
from slmk.spec import Blueprint
from slmk.state import State, get_state, moved, set_state
from slmk.statistics import finite
from slmk.streams import Streams
from slmk.tracker import ReturnTracker

__all__ = ["Session"]

log = structlog.get_logger("slmk")


class Session:
    """Owns environment, algorithm, memory, counters and current observations of one seed.

    Parts never refer to one another or to the session. What a resumed one needs is here or below, and nowhere else.
    """

    def __init__(self, blueprint: Blueprint, seed: int, registry: Registry | None = None) -> None:
        """Build every part.

        Raises:
            SpecError: parts do not fit together, such as an algorithm and an action space.
        """
        streams = Streams(seed, world.rank())
        self.blueprint = blueprint
        self.seed = seed
        self.backend = build_env(blueprint, seed=streams.integer("env"), registry=registry)
        """The environment as its plugin has it, whose state is saved."""
        self.env: Env = CheckedEnv(self.backend) if blueprint.run.debug else self.backend
        """The same, checked and with its rewards scaled where the spec says so."""
        if (scale := blueprint.env.config.reward_scale) != 1.0:
            self.env = ScaledEnv(self.env, scale)
        try:
            self._build(streams, registry)
        except BaseException:  # A simulator may be one for the whole process, and this one has no owner yet.
            self.env.close()
            raise
        self.env_steps = 0
        """Transitions so far, summed over environments and processes."""
        self.iterations = 0
        """Calls of `learn` so far."""
        self.seconds = 0.0
        """Wall time spent before this process took over."""
        self.best: float | None = None
        """The highest mean return of an evaluation so far."""
        self.metrics: Metrics = {}
        """The latest value of each metric that `learn` has returned since the last row."""
        self._started = perf_counter()

    def _build(self, streams: Streams, registry: Registry | None) -> None:
        """Every part but the environment, in which all episodes begin."""
        blueprint = self.blueprint
        self.num_envs = self.env.info.num_envs
        agent = build_agent(blueprint, self.env.info, streams, registry, blueprint.run.env_steps)
        self.algorithm, self.recurrence = agent.algorithm, agent.recurrence
        self.memory: Memory | None = build_memory(blueprint, self.env.info, self.algorithm.horizon, streams, registry)
        self.tracker = ReturnTracker(self.num_envs)
        self.evaluator = Evaluator(blueprint, streams, self.recurrence, registry)
        self.obs = self.recurrence.start(self.env.reset())

    @property
    def steps_per_iteration(self) -> int:
        """Transitions between two calls of `learn`, summed over environments and processes."""
        return self.algorithm.horizon * self.num_envs * world.size()

    @property
    def progress(self) -> float:
        """Share of the budget used, in [0, 1]."""
        return min(1.0, self.env_steps / self.blueprint.run.env_steps)

    @property
    def elapsed(self) -> float:
        """Seconds of wall time, those before a resume included."""
        return self.seconds + perf_counter() - self._started

    @property
    def updates(self) -> int:
        """Gradient steps so far."""
        return self.algorithm.learner.updates if self.algorithm.learner else 0

    @property
    def choices(self) -> dict[str, str | None]:
        """How the learner and the environment run, where they have chosen."""
        learner = self.algorithm.learner
        return {"learner": learner.choice if learner else None, "env": getattr(self.env, "choice", None)}

    def passed(self, every: int) -> bool:
        """Whether the last iteration reached or passed a multiple of so many env steps; never for 0."""
        if not every or not self.env_steps:
            return False
        return self.env_steps // every > (self.env_steps - self.steps_per_iteration) // every

    def restart_episodes(self, seed: int | None = None) -> None:
        """Begin new episodes everywhere and give up those that run.

        Args:
            seed: of the environment from now on; None to go on with its random streams.
        """
        self.obs = self.recurrence.start(self.env.reset(seed))
        self.tracker.abandon()
        if hasattr(self.algorithm, "abandon"):
            self.algorithm.abandon()

    def state_dict(self) -> State:
        """All that a resumed run needs, as a tree of references."""
        parts = {"algorithm": self.algorithm, "tracker": self.tracker}
        if self.memory is not None:
            parts["memory"] = self.memory
        if self.backend.info.exact_state or hasattr(self.backend, "state_dict"):
            parts["env"] = self.backend
        return {name: get_state(part) for name, part in parts.items()} | {
            "obs": dict(self.obs),
            "env_steps": self.env_steps,
            "iterations": self.iterations,
            "seconds": self.elapsed,
            "best": self.best,
            "metrics": dict(self.metrics),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to where `state_dict` was called. Tensors may be on the CPU, as `slmk.checkpoint` reads them.

        Raises:
            CheckpointError: the state is that of another spec.
        """
        device = self.env.info.device
        set_state(self.algorithm, moved(state["algorithm"], device))
        set_state(self.tracker, state["tracker"])
        if self.memory is not None:
            _restore(self.memory, state["memory"], device)
        self.env_steps, self.iterations = state["env_steps"], state["iterations"]
        self.seconds, self.best = state["seconds"], finite(state["best"])
        self.metrics = _own(state["metrics"], device)
        self._started = perf_counter()
        if "env" in state:
            _restore(self.backend, state["env"], device)
        if self.env.info.exact_state:
            self.obs = _own(state["obs"], device)
        else:
            log.info("running episodes start again: the environment's state cannot be restored", seed=self.seed)
            self.restart_episodes(Streams(self.seed, world.rank()).integer("env", self.iterations + 1))

    def close(self) -> None:
        """Free the simulators."""
        self.env.close()
        self.evaluator.close()


def _own(values: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """Copies: one tensor that is kept would keep the whole file mapped from which it was read."""
    return {name: value.to(device, copy=True) for name, value in values.items()}


def _restore(part: Memory | Env, state: State, device: torch.device) -> None:
    """Restore a part that may be large, such as a replay: one that speaks for itself takes what it needs to its device,
    so that nothing else goes there, and nothing twice."""
    set_state(part, state if hasattr(part, "load_state_dict") else moved(state, device))
