"""Where a Minari dataset lies."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["locate", "root"]


def locate(dataset: str) -> Path | None:
    """The folder with a dataset's data, or None where there is none.

    Args:
        dataset: the dataset's folder, the folder ``data`` in it, or an id among Minari's local datasets. A folder
            comes before an id of the same name.
    """
    folders = (Path(dataset).expanduser(), root() / dataset)
    candidates = (data for folder in folders for data in (folder / "data", folder))
    return next((data for data in candidates if (data / "metadata.json").is_file()), None)


def root() -> Path:
    """The folder of Minari's local datasets. Minari's own function for it makes the folder."""
    given = os.environ.get("MINARI_DATASETS_PATH")
    return Path(given) if given is not None else Path.home() / ".minari" / "datasets"
