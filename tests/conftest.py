"""What tests of whole processes share."""

import os
from collections.abc import Callable
from pathlib import Path
from shutil import rmtree

import pytest
from filelock import FileLock


@pytest.fixture(scope="session")
def once(tmp_path_factory) -> Callable[[str, Callable[[Path], object]], Path]:
    """Calls ``make(folder)`` by the first worker of pytest-xdist that asks, and gives all of them the folder."""
    base = tmp_path_factory.getbasetemp()
    common = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def get(name: str, make: Callable[[Path], object]) -> Path:
        folder, done = common / name, common / f"{name}.done"
        with FileLock(common / f"{name}.lock"):
            if not done.exists():
                rmtree(folder, ignore_errors=True)  # What another worker left when it failed.
                folder.mkdir()
                make(folder)
                done.touch()
        return folder

    return get
