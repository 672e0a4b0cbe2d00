"""Random streams of one simulation, made of generators that a process has only once.

mjlab draws from the global generators of torch, numpy and Python. Training and evaluation would disturb one another
there, and both would disturb everybody else.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

__all__ = ["Streams"]


class Streams:
    """The global generators while it is entered, at a state of its own; they are left as they were."""

    def __init__(self, device: torch.device) -> None:
        self._device = device if device.type == "cuda" else None
        self._outside: tuple[Any, ...] = ()
        self._inside = self._get()

    def seed(self, seed: int) -> None:
        """Begin anew; to be called while it is entered."""
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
        random.seed(seed)

    def __enter__(self) -> None:
        self._outside = self._get()
        self._set(*self._inside)

    def __exit__(self, *error: object) -> None:
        self._inside = self._get()
        self._set(*self._outside)

    def state_dict(self) -> dict[str, Any]:
        """Where the streams are; to be called while it is not entered."""
        cpu, cuda, (name, keys, *rest), (version, words, gauss) = self._inside
        return {
            "cpu": cpu,
            "cuda": cuda,
            "numpy": [name, torch.from_numpy(keys.astype(np.int64)), *rest],
            "python": [version, torch.tensor(words), gauss],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        name, keys, *rest = state["numpy"]
        version, words, gauss = state["python"]
        self._inside = (
            state["cpu"].cpu(),
            None if state["cuda"] is None else state["cuda"].cpu(),
            (name, keys.cpu().numpy().astype(np.uint32), *rest),
            (version, tuple(words.tolist()), gauss),
        )

    def _get(self) -> tuple[Any, ...]:
        cuda = None if self._device is None else torch.cuda.get_rng_state(self._device)
        return torch.get_rng_state(), cuda, np.random.get_state(), random.getstate()

    def _set(self, cpu: Any, cuda: Any, numpy: Any, python: Any) -> None:
        torch.set_rng_state(cpu)
        if self._device is not None:
            torch.cuda.set_rng_state(cuda, self._device)
        np.random.set_state(numpy)
        random.setstate(python)
