"""The networks of an algorithm by role, behind the observation normalizers."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from slmk.batch import Obs

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
    ) -> None:
        """Put networks behind normalizers.

        Args:
            networks: the network of each role.
            groups: what each role reads: observation groups, and the role's extra inputs after them.
            normalizers: a normalizer for each observation group that has one.
        """
        super().__init__()
        self.networks = nn.ModuleDict(networks)
        self.normalizers = nn.ModuleDict(normalizers)
        # What `forward` needs of each role, found once: walking through sub-modules costs as much as a small network.
        self._roles = {
            role: (networks[role], tuple((name, normalizers.get(name)) for name in names))
            for role, names in groups.items()
        }

    def forward(self, role: str, obs: Obs) -> Tensor:
        """Features (*batch, outputs) of the role's network for groups of shape (*batch, *shape)."""
        network, groups = self._roles[role]
        inputs = {name: obs[name] if normalizer is None else normalizer(obs[name]) for name, normalizer in groups}
        return network(inputs)  # type: ignore[no-any-return]

    def observe(self, obs: Obs) -> None:
        """Move the observation statistics by a batch of raw observations. Call it between iterations only."""
        for name, normalizer in self.normalizers.items():
            normalizer.update(obs[name])  # type: ignore[operator]
