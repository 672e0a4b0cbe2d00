"""One update over some of a learner's objectives: a pure function of its state, eager or compiled as one graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import Any

import structlog
import torch
from torch import Tensor, nn
from torch.func import functional_call

from slmk import world
from slmk.compilation import compiled
from slmk.model import Model
from slmk.parameters import Adam, AdamState, FlatParameters, TrainedParameters
from slmk.protocols import Metrics

__all__ = ["Average", "Loss", "Objective", "State", "Target", "UpdateStep"]

Loss = Callable[..., tuple[Tensor, Metrics]]
"""``loss(*batch, **scalars) -> (0-dim loss, values)``: a pure function of parameters and arguments. 0-dim values are
metrics; those with axes, such as the error of each sample, are what `Learner.step` returns."""
State = tuple[dict[str, AdamState], list[Tensor]]
"""What an update changes: parameters and moments of each objective, and the vectors of the target networks."""
Result = tuple[Tensor, dict[str, Tensor]]
"""Metrics as one vector (K,), and what losses gave besides."""

_log = structlog.get_logger()

TRIAL_STEPS = 15
"""Steps of each measurement; the median counts."""


@dataclass(frozen=True, slots=True)
class Objective:
    """A loss and what it trains. To the loss all other parameters are constants, so nothing needs detaching."""

    loss: Loss
    trains: Sequence[nn.Module]
    """Parts of the learner's modules; parameters that do not require a gradient are left alone."""
    optimiser: Adam = field(default_factory=Adam)
    sees_metrics: bool = False
    """Whether the loss takes ``metrics``, those that the objectives before it gave in the same step."""


@dataclass(frozen=True, slots=True)
class Average:
    """A target network: a copy that follows what is trained, target ← target + tau · (source − target)."""

    target: nn.Module
    source: nn.Module
    """Of the same structure. Its buffers are copied, not averaged. Parameters that do not require a gradient are left
    alone here too."""
    tau: float = 0.0
    """Share per step; 0 for a copy that moves by `Learner.sync` alone."""


@dataclass(frozen=True, slots=True)
class Target:
    """A target network on a vector of its own, and what it follows."""

    parameters: FlatParameters
    objective: str
    """By whose vector it moves."""
    where: slice
    """Slice of the objective's flat vector that this network copies."""
    tau: float
    buffers: Sequence[tuple[Tensor, Tensor]]
    """Pairs (buffer of the target, buffer of the source), copied at every move."""

    def move(self, flat: Tensor, source: Tensor, tau: float) -> None:
        """Move `flat` by a share `tau` towards the parameters on `source`."""
        if tau == 1.0:
            flat.copy_(source[self.where])
        else:
            flat.lerp_(source[self.where], tau)
        for mine, theirs in self.buffers:
            mine.copy_(theirs)


class _Attempt:
    """A method that is compiled at its first call. Where that fails, a warning, and the method itself from then on: a
    slow run beats a dead one. Only the failed call is repeated; effects of earlier calls in the step are kept.
    """

    def __init__(self, method: Callable[..., Any], device: torch.device, **about: str) -> None:
        self._method = method
        self._about = about
        self._function = compiled(method, device)
        self._was_called = False
        self.failed = False

    def __call__(self, *arguments: Any) -> Any:
        if self._was_called:
            return self._function(*arguments)
        try:
            result = self._function(*arguments)
        except Exception as error:
            first_line = f"{type(error).__name__}: {error}".splitlines()[0]
            _log.warning("compiling the update failed, going on without", error=first_line, **self._about)
            self._function, self.failed = self._method, True
            result = self._function(*arguments)
        self._was_called = True
        return result


class UpdateStep:
    """Takes objectives in order, each with the parameters that those before it have left; then moves the targets."""

    def __init__(
        self,
        call: nn.Module,
        objectives: Mapping[str, Objective],
        parameters: Mapping[str, TrainedParameters],
        targets: Sequence[Target],
    ) -> None:
        """
        Args:
            call: the module that calls the loss of an objective by its name.
            objectives: those to take.
            parameters: what each objective of the learner trains, also those not taken.
            targets: target networks.
        """
        self._call = call
        self._objectives = dict(objectives)
        self._parameters = dict(parameters)
        self._targets = list(targets)
        self._in_world = world.size() > 1
        self._statistics = _statistics_of(call)
        self._compiled: Callable[..., Result] | None = None
        self._attempts: dict[str, _Attempt] = {}
        self.names: tuple[str, ...] = ()
        """Of the metrics."""
        self.history: list[Tensor] = []
        """Metrics (K,) of the steps taken, until `Learner.metrics` reads them."""

    @property
    def failed(self) -> bool:
        """Whether compiling was tried, and all in vain."""
        return bool(self._attempts) and all(attempt.failed for attempt in self._attempts.values())

    def __call__(self, choice: str, state: State, batch: tuple[Any, ...], scalars: Mapping[str, Tensor]) -> Result:
        """Change `state` in place, ``compiled`` or ``eager`` as `choice` says."""
        if choice == "eager":
            return self._update(state, batch, scalars)
        if self._compiled is None:
            self._compiled = self._as_compiled(next(self._call.parameters()).device)
        return self._compiled(state, batch, scalars)

    def seconds(self, choice: str, state: State, batch: tuple[Any, ...], scalars: Mapping[str, Tensor]) -> float:
        """Median time of one step on a copy of `state`, after a warm-up; nothing that training uses is changed."""
        trained, targets = state
        copy = {name: tuple(x.clone() for x in each) for name, each in trained.items()}, [x.clone() for x in targets]
        buffers = [(buffer, buffer.clone()) for buffer in self._call.buffers()]
        seconds = []
        for _ in range(TRIAL_STEPS):
            start = perf_counter()
            self(choice, copy, batch, scalars)[0].sum().item()  # type: ignore[arg-type]
            seconds.append(perf_counter() - start)
        for buffer, before in buffers:
            buffer.copy_(before)
        median = torch.tensor(sorted(seconds[2:])[len(seconds[2:]) // 2])
        world.average(median)  # All processes of a world have to choose alike.
        return median.item()

    def _as_compiled(self, device: torch.device) -> Callable[..., Result]:
        """The step as one graph. In a world it is the gradients that are compiled: processes meet after each."""
        if not self._in_world:
            self._attempts = {"step": _Attempt(self._update, device)}
            return self._attempts["step"]
        self._attempts = {name: _Attempt(self._gradient, device, objective=name) for name in self._objectives}
        return partial(self._update, gradients={name: partial(each, name) for name, each in self._attempts.items()})

    def _update(
        self,
        state: State,
        batch: tuple[Any, ...],
        scalars: Mapping[str, Tensor],
        gradients: Mapping[str, Callable[..., tuple[Tensor, Metrics]]] | None = None,
    ) -> Result:
        """All objectives, then the targets; `gradients` are compiled forms of `_gradient`."""
        trained, targets = state
        metrics: dict[str, Tensor] = {}
        outputs: dict[str, Tensor] = {}
        for name in self._objectives:
            gradient_of = partial(self._gradient, name) if gradients is None else gradients[name]
            values = self._descend(name, gradient_of, state, batch, scalars, metrics)
            metrics |= {key: value for key, value in values.items() if value.dim() == 0}
            outputs |= {key: value for key, value in values.items() if value.dim() > 0}
        with torch.no_grad():
            if self._in_world:
                world.average(*self._statistics)
            for target, flat in zip(self._targets, targets, strict=True):
                if target.tau:
                    target.move(flat, trained[target.objective][0], target.tau)
        self.names = tuple(metrics)
        return torch.stack(list(metrics.values())), outputs

    def _descend(
        self,
        name: str,
        gradient_of: Callable[..., tuple[Tensor, Metrics]],
        state: State,
        batch: tuple[Any, ...],
        scalars: Mapping[str, Tensor],
        metrics: Metrics,
    ) -> Metrics:
        """One step of Adam for one objective; its values, and the norm of its gradient."""
        objective, mine = self._objectives[name], state[0][name]
        arguments: dict[str, Any] = {key: value for key, value in scalars.items() if not key.startswith("lr/")}
        if objective.sees_metrics:
            arguments["metrics"] = dict(metrics)
        gradient, values = gradient_of(state, batch, arguments)
        with torch.no_grad():
            if self._in_world:
                world.average(gradient)
            norm = objective.optimiser.step(mine, gradient, scalars[f"lr/{name}"])
        label = "update/grad_norm" if len(self._parameters) == 1 else f"update/{name}_grad_norm"
        return values | {label: norm}

    def _gradient(
        self, name: str, state: State, batch: tuple[Any, ...], arguments: Mapping[str, Any]
    ) -> tuple[Tensor, Metrics]:
        """The gradient of an objective's loss along its vector, and its values, detached."""
        with torch.enable_grad():
            leaf = state[0][name][0].detach().requires_grad_()
            views = self._views(state) | self._parameters[name].views(leaf)
            loss, values = functional_call(self._call, views, (name, *batch), dict(arguments))
            (gradient,) = torch.autograd.grad(loss, leaf)
        return gradient, {key: value.detach() for key, value in values.items()}

    def _views(self, state: State) -> dict[str, Tensor]:
        """All parameters by name, as constants."""
        trained, targets = state
        views: dict[str, Tensor] = {}
        for name, parameters in self._parameters.items():
            views |= parameters.views(trained[name][0])
        for target, flat in zip(self._targets, targets, strict=True):
            views |= target.parameters.views(flat)
        return views


def _statistics_of(call: nn.Module) -> list[Tensor]:
    """What networks gather in their buffers while they are trained, such as batch normalisation's means.

    Normalizers take care of their own, and are not among them.
    """
    models = [module for module in call.modules() if isinstance(module, Model)]
    own = {id(buffer) for model in models for buffer in model.normalizers.buffers()}
    state = call.state_dict(keep_vars=True).values()
    return [x for x in state if not isinstance(x, nn.Parameter) and x.is_floating_point() and id(x) not in own]
