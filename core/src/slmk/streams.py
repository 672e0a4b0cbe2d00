"""Named random streams spawned from one seed, so that adding a stream never changes another."""

from __future__ import annotations

from zlib import crc32

import numpy as np
import torch

__all__ = ["Streams"]


class Streams:
    """Independent streams by name, derived from a session's seed.

    A stream depends on the seed, the process's rank and its name alone (`numpy.random.SeedSequence` with the name's
    CRC-32 in the spawn key), not on the order in which streams are asked for. Nothing global is seeded.
    """

    def __init__(self, seed: int, rank: int = 0) -> None:
        self.seed = seed
        self._ranks = (rank,) if rank else ()

    @property
    def common(self) -> Streams:
        """The streams that are the same in all processes of a world: those of the first."""
        return Streams(self.seed)

    def integer(self, name: str, index: int = 0) -> int:
        """A 63-bit seed for the stream `name`; `index` tells apart several of one name, such as evaluations."""
        sequence = np.random.SeedSequence(self.seed, spawn_key=(crc32(name.encode()), index, *self._ranks))
        return int(sequence.generate_state(1, np.uint64)[0]) >> 1

    def generator(self, name: str, device: torch.device) -> torch.Generator:
        """A torch generator on `device` for the stream `name`."""
        return torch.Generator(device).manual_seed(self.integer(name))
