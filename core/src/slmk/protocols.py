"""The contract: what each kind of part must offer. Plain objects with these methods; no base class is needed.

Any part may define ``state_dict()`` and ``load_state_dict(state)``. One that does not has its state collected from its
attributes by `slmk.state`, so that nothing is forgotten on resume.

`load_state_dict` of an algorithm gets tensors on the run's device. That of an environment or a memory, which may be
large, gets them on the CPU, mapped from the checkpoint's file, and moves or copies what it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from slmk.batch import Act, Obs, Sample, Step, Transition
from slmk.config import Compile
from slmk.env_info import EnvInfo

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from slmk.model import Model

__all__ = [
    "Algorithm",
    "Env",
    "Launcher",
    "Memory",
    "Metrics",
    "Network",
    "Normalizer",
    "Parts",
    "Reporter",
    "Role",
    "Trainer",
]

Metrics = dict[str, Tensor]
"""Metrics by ``group/name``, each a 0-dim tensor on the run's device; read back once per report."""


@runtime_checkable
class Env(Protocol):
    """N environments behind one batched step. See `slmk.batch.Step` for what is promised about tensors.

    One whose simulator has figures of its own, such as the terms that a reward is made of, may offer ``metrics() ->
    Metrics``: the means since the last call, by ``env/name``. They are reported with those of the algorithm.

    One that chooses how it runs, as by measuring, may say so in ``choice``, a string, which is recorded with the run.

    ``state_dict`` of one that is not exact (`EnvInfo.exact_state`) holds what outlives episodes, such as a curriculum;
    after ``load_state_dict`` the run starts new episodes. It gets tensors on the CPU, and takes them to its device.
    """

    info: EnvInfo

    def reset(self, seed: int | None = None) -> Obs:
        """Start N new episodes, and return their first observations.

        A seed decides all that follows: ``reset(seed)`` gives what the first ``reset()`` gives in one made with it.
        """
        ...

    def step(self, action: Tensor) -> Step:
        """Act once in every environment. Ended episodes restart within the call: there is no phantom reset step."""
        ...

    def render(self) -> npt.NDArray[np.uint8] | None:
        """An RGB picture (H, W, 3) of the first environment, or None where there is no renderer."""
        ...

    def close(self) -> None:
        """Free what the simulator holds."""
        ...


@dataclass(frozen=True, slots=True)
class Role:
    """What an algorithm asks of the network that plays a role."""

    outputs: int
    """Number of output features."""
    gain: float = 1.0
    """Gain of the last layer's initial weights, relative to the network's own scheme."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Further inputs besides observation groups, as spaces by name, such as the action for a Q function."""
    ensemble: int = 0
    """Members with weights of their own and an output each, (ensemble, *batch, outputs); 0 for a single network."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a run hands to an algorithm besides its config and `EnvInfo`."""

    model: Model
    """The networks by role, behind the observation normalizers."""
    normalizers: Mapping[str, Normalizer]
    """Normalizers by role, without observations: those of the spec among ``AlgorithmConfig.normalizers``."""
    generator: torch.Generator
    """The stream from which actions and minibatches are drawn."""
    compile: Compile
    """Whether to compile update steps, for `Learner`."""
    env_steps: int
    """The budget of this run, to turn counts of environment steps into `progress`; 0 if unknown."""
    iterations: int
    """How many times ``learn`` will be called in this run, so that a `Learner` can weigh compiling; 0 if unknown."""


class Trainer(Protocol):
    """What a run records of training. A `slmk.Learner` is one."""

    updates: int
    """Gradient steps so far."""
    choice: str | None
    """How they run: ``eager``, ``compiled``, or None as long as that is not known."""


class Algorithm(Protocol):
    """Acts and learns. It never sees the environment, only `EnvInfo` and tensors.

    One with a critic may offer ``value(obs)``, the discounted return it expects (N,), for the contract suite to ask.
    One that keeps something of running episodes from one `learn` to the next has ``abandon()``, which says that they do
    not go on. It is called where a run is resumed whose simulator's state could not be restored.
    """

    horizon: int
    """Vector steps (T) between two calls of `learn`, as its config says."""
    learner: Trainer | None
    """What makes its gradient steps, so that they are counted; None where nothing is trained."""

    def act(self, obs: Obs, progress: float) -> Act:
        """Choose an action for each environment, exploring. Called without gradients, as `policy` is.

        Args:
            obs: groups, each (N, *shape).
            progress: the share of the budget that is used, in [0, 1].
        """
        ...

    def policy(self, obs: Obs) -> Tensor:
        """The deterministic policy, for evaluation and export: (N, *action shape) in the environment's range."""
        ...

    def learn(self, memory: Memory, progress: float) -> Metrics:
        """Improve from what the memory holds. No value crosses to the host here, except where a stop rule needs it."""
        ...


class Memory(Protocol):
    """Keeps experience. `take` belongs to rollouts, `sample` to replays; the config's `offers` says which it is.

    A ``load_state_dict`` of its own gets tensors on the CPU, mapped from the checkpoint's file, and takes them to where
    it keeps them: a replay need not lie on the run's device, nor be there twice.
    """

    def add(self, obs: Obs, act: Act, step: Step) -> None:
        """Store one vector step: the observation acted on, the act, and what came of it."""
        ...

    def take(self) -> Transition:
        """All experience since the last call, with axes (T, N, …), and forget it."""
        ...

    def __len__(self) -> int:
        """What can be taken (vector steps), or sampled from (transitions)."""
        ...

    def sample(self, batch_size: int, *, gamma: float = 1.0, n_step: int = 1, progress: float = 0.0) -> Sample:
        """Draw transitions of `n_step` steps, discounted by `gamma`, with axes (B, …), or (L, B, …) for sequences.

        Args:
            batch_size: B, how many transitions, or sequences.
            gamma: discount per step, for the sum of rewards and for `Sample.discount`.
            n_step: steps summed up, fewer where the episode ends before.
            progress: the share of the run's budget that is used, for schedules of the memory.
        """
        ...

    def feedback(self, batch: Sample, error: Tensor) -> None:
        """Tell how surprising each sample was: its absolute error (B,), or that of each step of sequences (L, B).

        A no-op in all but prioritized memories.
        """
        ...


class Network(Protocol):
    """A `torch.nn.Module` from observation groups to features."""

    def __call__(self, obs: Obs) -> Tensor:
        """Groups, each (*batch, *shape), to features (*batch, outputs)."""
        ...


class Normalizer(Protocol):
    """A `torch.nn.Module` whose statistics are buffers, moved by `update` alone."""

    def __call__(self, x: Tensor) -> Tensor:
        """Normalise ``(*batch, *shape)`` by the present statistics."""
        ...

    def inverse(self, x: Tensor) -> Tensor:
        """Undo `__call__`."""
        ...

    def scale(self, x: Tensor) -> Tensor:
        """Divide by the spread without shifting: for rewards and advantages, whose sign must stay."""
        ...

    def update(self, x: Tensor) -> None:
        """Move the statistics by a batch ``(*batch, *shape)``."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """The statistics."""
        ...


class Reporter(Protocol):
    """Consumes metrics rows. Isolated: one that raises is switched off with a warning; `slmk.RunError` ends the run.

    One that holds files or connections may offer ``close()``, called last, also after an error. One that people look at
    may offer ``show_files(files)``, called after every reporter's `finish` with what those left for people: pairs of a
    reporter's name and a path.
    """

    scope: Literal["seed", "trial"]
    """``seed``: one instance in each session's process. ``trial``: one in the parent, which sees every session."""

    def start(self, run: Mapping[str, Any]) -> None:
        """Called once, before the first row, with the run's manifest (and ``seed`` for scope ``seed``)."""
        ...

    def report(self, row: Mapping[str, Any]) -> None:
        """One row: ``kind`` (``train``, ``eval`` or ``progress``), ``seed``, ``env_steps`` and metrics as numbers."""
        ...

    def finish(self, summary: Mapping[str, Any]) -> Path | None:
        """Called once at the end with the session's or the trial's summary.

        Returns a file or folder that it left for people to open, such as a page; None for none. The reporter
        ``console`` says where those of the trial's reporters are.
        """
        ...


class Launcher(Protocol):
    """Runs the sessions of a trial somewhere."""

    def launch(
        self, jobs: Sequence[Mapping[str, Any]], on_row: Callable[[Mapping[str, Any]], None]
    ) -> Sequence[Mapping[str, Any]]:
        """Run each job (arguments of `slmk.job.run_job`), pass its rows on, and return the summaries.

        Every session is done then, unless a summary says that it was ``interrupted``; otherwise the run fails.
        """
        ...
