"""Where a Minari dataset lies, and whether one is there: looked up in files, since importing Minari takes a second."""

from __future__ import annotations

import json
import os
from pathlib import Path

__all__ = ["fault", "locate"]

METADATA = "metadata.json"


def locate(dataset: str) -> Path | None:
    """The folder with a dataset's data, or None where there is none.

    Args:
        dataset: the dataset's folder, the folder ``data`` in it, or an id among Minari's local datasets. A folder
            comes before an id of the same name.
    """
    folders = (Path(dataset).expanduser(), _root() / dataset)
    candidates = (data for folder in folders for data in (folder / "data", folder))
    return next((data for data in candidates if (data / METADATA).is_file()), None)


def fault(dataset: str) -> str | None:
    """What is wrong with a dataset as far as its metadata tells, with what to do about it; None where nothing is."""
    data = locate(dataset)
    if data is None:
        return (
            f"no Minari dataset '{dataset}', neither as a folder nor below {_root()}: make one with "
            f"`slmk eval RUN --record {dataset}`, or fetch one with `minari download ID`"
        )
    try:
        steps = json.loads((data / METADATA).read_text(encoding="utf-8"))["total_steps"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"the dataset in {data} is damaged: its {METADATA} cannot be read ({type(error).__name__}: {error})"
    return None if steps else f"the dataset in {data} is empty: it has no steps"


def _root() -> Path:
    """The folder of Minari's local datasets."""
    given = os.environ.get("MINARI_DATASETS_PATH")
    return Path(given) if given is not None else Path.home() / ".minari" / "datasets"
