"""The networks of an algorithm by role, behind the observation normalizers."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

from slmk.batch import CARRY, FIRST, Obs
from slmk.windows import Windows

__all__ = ["Model"]


class Model(nn.Module):
    """Calls the network of a role on the groups it reads, normalised.

    Observation statistics are buffers here: saved with the weights, used by `forward`, moved by `observe` alone.
    """

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        groups: Mapping[str, tuple[str, ...]],
        normalizers: Mapping[str, nn.Module],
        extra: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
        window: int = 1,
    ) -> None:
        """Put networks behind normalizers.

        Args:
            networks: the network of each role.
            groups: the observation groups that each role reads.
            normalizers: a normalizer for each observation group that has one.
            extra: what a role reads besides, such as the action of which a critic is asked (`Role.extra`).
            window: steps of the windows into which rollouts are cut; see `slmk.RecurrentNetworkConfig`.
        """
        super().__init__()
        self.networks = nn.ModuleDict(networks)
        self.normalizers = nn.ModuleDict(normalizers)
        # What `observe` and `forward` need, found once: walking through sub-modules costs as much as a small network.
        self._observing = tuple(normalizers.items())
        self._roles = {
            role: (networks[role], tuple((name, normalizers.get(name)) for name in names), tuple(extra.get(role, ())))
            for role, names in groups.items()
        }
        self.recurrent: dict[str, int] = {
            role: width for role, network in networks.items() if (width := getattr(network, "carry", 0))
        }
        """Width of what the network remembers, for each role whose network remembers anything."""
        self.windows = Windows(window)
        """How rollouts are to be cut for training these networks."""

    def forward(self, role: str, obs: Obs, **options: Any) -> Tensor:
        """Features (*batch, outputs) of the role's network for groups of shape (*batch, *shape).

        A role with ``ensemble`` members gives (members, *batch, outputs). Options are the network's own, such as
        ``members``, indices of those that are asked.
        """
        network, _, extra = self._roles[role]
        inputs = self._observed(role, obs)
        for name in extra:
            inputs[name] = obs[name]
        return network(inputs, **options)  # type: ignore[no-any-return]

    def advance(self, obs: Obs) -> dict[str, Tensor]:
        """What each recurrent network remembers after `obs`, (N, width) by the name of its group.

        Networks of which `obs` has no carry are left out: a policy alone does not need the critic's. So are extra
        inputs, which are no observations and not remembered.
        """
        roles = {f"{CARRY}{role}": role for role in self.recurrent}
        return {
            name: self._roles[role][0].advance(self._observed(role, obs))  # type: ignore[operator]
            for name, role in roles.items()
            if name in obs
        }

    def observe(self, obs: Obs) -> None:
        """Move the observation statistics by a batch of raw observations. Call it between iterations only."""
        for name, normalizer in self._observing:
            normalizer.update(obs[name])  # type: ignore[operator]

    def target(self, role: str) -> Model:
        """A model of its own with a frozen copy of one network, behind the same normalizers: a target network."""
        network, groups, extra = self._roles[role]
        copy = deepcopy(network).requires_grad_(False)
        names = tuple(name for name, _ in groups)
        return Model({role: copy}, {role: names}, dict(self.normalizers.items()), {role: extra})

    def _observed(self, role: str, obs: Obs) -> Obs:
        """The groups that the role's network reads, normalised; a recurrent one gets its own memory as ``carry``."""
        inputs = {
            name: obs[name] if normalizer is None else normalizer(obs[name])
            for name, normalizer in self._roles[role][1]
        }
        if role in self.recurrent:
            inputs["carry"], inputs[FIRST] = obs[f"{CARRY}{role}"], obs[FIRST]
        return inputs
