"""Recurrent networks: options and registration. The network itself is in `slmk_net_recurrent.recurrent`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from slmk import Component, NetworkConfig, PositiveInt, hookimpl

__all__ = ["RecurrentConfig"]


class RecurrentConfig(NetworkConfig):
    """Options of a recurrent network: layers, a cell that remembers, layers, and a linear layer at the end."""

    cell: Literal["gru", "lstm"] = "gru"
    """What remembers: a gated recurrent unit (Cho et al. 2014) or a long short-term memory (Hochreiter 1997)."""
    hidden: PositiveInt = 64
    """Width of the cell's output. What is carried from step to step is as wide for a GRU, twice that for an LSTM."""
    window: PositiveInt = 16
    """Steps through which gradients flow in training on rollouts; the algorithm's horizon is a multiple of it. Sampled
    sequences have their length from the memory instead, and those of ``ppo_brax`` from its `unroll_length`."""
    encoder: tuple[PositiveInt, ...] = (64,)
    """Widths of the layers before the cell; empty for none."""
    head: tuple[PositiveInt, ...] = ()
    """Widths of the layers after the cell, before the last one; empty for none."""
    activation: Literal["tanh", "relu", "elu", "swish", "gelu"] = "tanh"
    """The nonlinearity after each layer before and after the cell."""
    init: Literal["orthogonal", "lecun_uniform", "kaiming_uniform", "pytorch"] = "orthogonal"
    """Initial weights of the layers and of the cell's inputs: ``orthogonal`` (gain √2 in layers, biases 0),
    ``lecun_uniform`` (±√(3 / inputs), biases 0; JAX's habit), ``kaiming_uniform`` (±√(6 / inputs), biases 0) or
    ``pytorch`` (±√(1 / inputs), biases too). The last layer has the gain of its role. In all of them a cell's weights
    from its own state are orthogonal, each gate by itself, and an LSTM's forget gate has bias 1."""

    def problems(self, spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """There must be sequences to train on: windows of rollouts, or those that the memory samples."""
        memory = spec.get("memory")
        if memory is None:
            return
        if memory.offers == "take":
            yield from self._window_problems(spec)
        elif getattr(memory, "sequence", 1) == 1:
            yield "", "trained on single transitions it learns to remember nothing: set memory.sequence to more than 1"

    def _window_problems(self, spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """A rollout is cut once, for all roles, into windows that fill its horizon and every minibatch."""
        networks, algorithm, env = (spec.get(section) for section in ("network", "algorithm", "env"))
        if algorithm is not None and not algorithm.windowed:
            return
        windows = {config.window for config in (networks or {}).values() if isinstance(config, RecurrentConfig)}
        horizon, minibatches = getattr(algorithm, "horizon", 1), getattr(algorithm, "minibatches", 1)
        if len(windows) > 1:
            each = ", ".join(map(str, sorted(windows)))
            yield "window", f"the roles have windows of {each} steps, but a rollout is cut once, for all of them"
        elif algorithm is not None and horizon % self.window:
            yield "window", f"the algorithm's horizon of {horizon} steps is not a multiple of {self.window}"
        elif env is not None and (count := horizon // self.window * env.num_envs) % minibatches:
            yield "window", f"{count} windows (horizon / window × num_envs) do not split into {minibatches} minibatches"


@hookimpl
def slmk_networks() -> Iterable[Component]:
    """Offer ``recurrent``."""
    return [Component("recurrent", RecurrentConfig, "slmk_net_recurrent.recurrent:Recurrent", "GRU or LSTM")]
