"""Minari datasets for the tests, written by Minari itself rather than by slmk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from minari.data_collector import EpisodeBuffer
from minari.dataset.minari_storage import MinariStorage


def _write(path: Path, observation: spaces.Space, action: spaces.Space, *episodes: dict[str, Any]) -> Path:
    (path / "data").mkdir(parents=True)
    storage = MinariStorage.new(path / "data", observation, action)
    storage.update_metadata({"dataset_id": path.name, "minari_version": "0.5.4"})
    storage.update_episodes(EpisodeBuffer(infos={}, **episode) for episode in episodes)
    return path


def _letters(path: Path, *episodes: str, start: int = 0) -> Path:
    rows, number = [], start
    for letters in episodes:
        steps = np.arange(number, number + len(letters))
        number += len(letters)
        rows.append(
            {
                "observations": np.concatenate([-steps, [1000 + steps[-1]]])[:, None].astype(np.float32),
                "actions": steps % 2,
                "rewards": -steps.astype(np.float64),
                "terminations": np.array([letter == "t" for letter in letters]),
                "truncations": np.array([letter == "c" for letter in letters]),
            }
        )
    return _write(path, spaces.Box(-1, 1, (1,)), spaces.Discrete(2), *rows)


@pytest.fixture(scope="session")
def write() -> Callable[..., Path]:
    """``write(path, observation space, action space, *episodes)``: a dataset of episodes, given by their fields."""
    return _write


@pytest.fixture(scope="session")
def letters() -> Callable[..., Path]:
    """``letters(path, "..t", ".c", start=0)``: a dataset with a step for each letter.

    ``t`` terminates, ``c`` cuts the episode, ``.`` goes on. Steps are numbered from `start` over all episodes: step i
    is acted on in observation −i with action i % 2 and reward −i, and an episode that ends with step i has the last
    observation 1000 + i.
    """
    return _letters
