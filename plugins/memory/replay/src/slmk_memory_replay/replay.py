"""The replay memory: the latest transitions of all environments, from which samples are drawn uniformly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from slmk import Act, CheckpointError, EnvInfo, Obs, Problem, Sample, SpecError, Step
from slmk.batch import CARRY
from slmk_memory_replay import ReplayConfig
from slmk_memory_replay.n_step import n_step_return
from slmk_memory_replay.ring import Layout, Ring

__all__ = ["Replay"]


class Replay:
    """Draws transitions of one or more steps, or sequences for recurrent networks, from a ring of the latest steps."""

    def __init__(self, config: ReplayConfig, env: EnvInfo, horizon: int, generator: torch.Generator) -> None:
        """See `slmk.hookspecs.slmk_memories`. Nothing is allocated before the first `add`.

        Raises:
            ValueError: the capacity is less than one step of every environment.
            SpecError: there is no stack of the given number of frames.
        """
        if config.capacity < env.num_envs:
            raise ValueError(f"a capacity of {config.capacity} is less than a step of {env.num_envs} environments")
        self._config = config
        self._device = env.device
        self._generator = generator
        self._layout = Layout(
            steps=config.capacity // env.num_envs,
            num_envs=env.num_envs,
            stacks=_stacks(config.frame_stack, env),
            storage=config.storage,
            device=env.device if config.storage == "device" else torch.device("cpu"),
        )
        self._ring: Ring | None = None

    @classmethod
    def of_episodes(
        cls,
        config: ReplayConfig,
        env: EnvInfo,
        generator: torch.Generator,
        *,
        obs: Obs,
        final_obs: Obs,
        action: Tensor,
        reward: Tensor,
        terminated: Tensor,
        truncated: Tensor,
        ends: Tensor,
    ) -> Replay:
        """A replay that holds T transitions of E whole episodes of one environment, as if each step had been added.

        Adding a million of them one by one would take more than a minute.

        Args:
            config: the options, but for the capacity, which is T, and stacks of frames, which are kept whole.
            env: what the episodes are of; its number of environments does not matter.
            generator: what samples are drawn from.
            obs: what was acted on, groups (T, *shape), one episode after another.
            final_obs: the last observation of each episode, groups (E, *shape).
            action: (T, *action shape).
            reward: (T,).
            terminated: (T,) bool.
            truncated: (T,) bool.
            ends: (T,) bool: the last transition of each episode, also where a recording stopped in the middle of one.

        Raises:
            ValueError: the last transition is not the end of an episode, or an end has no last observation.
            RunError: there is no room in memory, or on the disk.
        """
        columns = {"action": action, "reward": reward, "terminated": terminated, "truncated": truncated, "ends": ends}
        options = config.model_copy(update={"capacity": len(ends), "frame_stack": 0})
        memory = cls(options, replace(env, num_envs=1), 1, generator)
        memory._ring = Ring.of_episodes(memory._layout, columns, obs, final_obs)
        return memory

    def __len__(self) -> int:
        """Transitions that can be sampled from."""
        return len(self.held)

    @property
    def held(self) -> range:
        """The numbers of these transitions: step · N + environment, where steps count from the beginning of the run."""
        return range(0) if self._ring is None else self._ring.held

    @property
    def rows(self) -> int:
        """Rows of the ring: transition i lies in row i mod `rows`."""
        return self._layout.rows

    @property
    def nbytes(self) -> int:
        """Size of all that is kept, in bytes; 0 before the first `add`."""
        return 0 if self._ring is None else self._ring.nbytes

    def add(self, obs: Obs, act: Act, step: Step) -> None:
        """Store one vector step.

        Raises:
            ValueError: a stack of frames does not continue the one before it.
            RunError: there is no room in memory, or on the disk.
        """
        if self._ring is None:
            self._ring = Ring.for_step(self._layout, obs, act, step)
        self._ring.add(obs, act, step)

    def sample(self, batch_size: int, *, gamma: float = 1.0, n_step: int = 1, progress: float = 0.0) -> Sample:
        """Draw transitions with replacement, each as likely as another. See `slmk.protocols.Memory`.

        Raises:
            ValueError: see `check`.
        """
        self.check(batch_size, n_step)
        start, device = self.held.start, self._generator.device
        row = torch.randint(len(self), (batch_size,), generator=self._generator, device=device)
        return self.gather((row + start) % self.rows if start else row, gamma=gamma, n_step=n_step)

    def check(self, batch_size: int, n_step: int) -> None:
        """Refuse what cannot be drawn.

        Raises:
            ValueError: the memory is empty or smaller than the batch, or `n_step` is less than 1, or is more for
                sequences.
        """
        if not self.held:
            raise ValueError("nothing to sample from the replay: no step was added")
        if batch_size > self._config.capacity:
            raise ValueError(f"a batch of {batch_size} is larger than the replay's capacity {self._config.capacity}")
        if n_step < 1 or (n_step > 1 and self._length > 1):
            raise ValueError(f"n_step is {n_step}; it has to be 1, or more where there are no sequences")

    def gather(self, row: Tensor, *, gamma: float, n_step: int = 1) -> Sample:
        """The sample that begins with given transitions; weights are 1, or 0 where steps of a sequence do not count.

        Args:
            row: the rows of transitions in `held`, (B,). `Sample.index` is these.
            gamma: discount per step.
            n_step: steps to sum up.
        """
        assert self._ring is not None, "nothing is held"
        first = row.to(self._layout.device)
        if self._length > 1:
            sample = self._sequences(self._ring, first, gamma)
        else:
            sample = _transitions(self._ring, first, gamma, n_step)
        return sample if self._layout.device == self._device else sample.map(lambda x: x.to(self._device))

    def feedback(self, batch: Sample, error: Tensor) -> None:
        """Nothing: every transition stays as likely as another."""

    def state_dict(self) -> dict[str, Any]:
        """What is filled of the ring, and the random stream."""
        ring = None if self._ring is None else self._ring.state_dict()
        return {"shape": self._shape, "ring": ring, "random": self._generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            CheckpointError: the state is that of a replay of another capacity, or of other environments or stacks.
        """
        if state["shape"] != self._shape:
            raise CheckpointError(f"the checkpoint's replay has {state['shape']}, this spec's has {self._shape}")
        self._generator.set_state(state["random"].cpu())
        self._ring = None if state["ring"] is None else Ring.from_state(self._layout, state["ring"])

    @property
    def _length(self) -> int:
        """Steps of each sample."""
        return self._config.burn_in + self._config.sequence

    @property
    def _shape(self) -> dict[str, int]:
        """What replays must have in common to share a state."""
        steps, num_envs = self._layout.steps, self._layout.num_envs
        return {"capacity": steps * num_envs, "num_envs": num_envs, "frame_stack": self._config.frame_stack}

    def _sequences(self, ring: Ring, first: Tensor, gamma: float) -> Sample:
        """Steps of the same episode, (burn_in + L, B, …); where there are too few the last is repeated, for nothing.

        A sequence that begins with its episode has nothing to remember and so nothing to warm up: all its steps count.
        Otherwise no sequence would train the first steps of an episode.
        """
        place = torch.arange(self._length, device=first.device).unsqueeze(-1)
        steps = ring.reach(ring.onward(first, place))
        row = ring.onward(first, torch.minimum(place, steps - 1)).flatten()
        carries = {name for name in ring.groups if name.startswith(CARRY)}
        flat = ring.sample(row, row, gamma, ring.groups - carries)
        sample = flat.map(lambda x: x.view(self._length, len(first), *x.shape[1:]))
        before, after = ring.observations(first, carries)
        sample.obs |= before
        sample.next_obs |= after
        sample.weight = ((place < steps) & ((place >= self._config.burn_in) | ring.begins(first))).float()
        sample.index = first
        return sample


def _transitions(ring: Ring, row: Tensor, gamma: float, n_step: int) -> Sample:
    """Transitions of `n_step` steps, or of as many as there are, (B, …)."""
    if n_step == 1:
        return ring.sample(row, row, gamma)
    rows = ring.onward(row, torch.arange(n_step, device=row.device).unsqueeze(-1))
    steps = ring.reach(rows)
    sample = ring.sample(row, rows.gather(0, (steps - 1).unsqueeze(0)).squeeze(0))
    sample.reward, sample.discount = n_step_return(ring.rewards(rows), steps, gamma)
    return sample


def _stacks(frames: int, env: EnvInfo) -> dict[str, int]:
    """The groups of which single frames are to be kept, with the frames of each stack.

    Raises:
        SpecError: there are none.
    """
    if frames < 2:
        return {}
    groups = env.observation_spaces.items()
    found = {
        name: frames for name, space in groups if str(space.dtype) == "uint8" and (space.shape or ())[:1] == (frames,)
    }
    if not found:
        message = "no observation group is a stack of that many pictures, with the stack as its first axis"
        given = ", ".join(f"{name}: {space}" for name, space in groups)
        shapes = [space.shape or () for _, space in groups if str(space.dtype) == "uint8"]
        stacks = sorted({shape[0] for shape in shapes if len(shape) > 2 and shape[0] < min(shape[1:])})
        expected = " or ".join(str(frames) for frames in [0, *stacks])
        raise SpecError([Problem(message, "memory.frame_stack", expected=expected, found=f"{frames}, with {given}")])
    return found
