"""A run that is killed and resumed, beside one that is not: by the commands that a person would use."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from slmk.run_directory import CHECKPOINTS, SESSIONS, SUMMARY

__all__ = ["straight_and_killed"]

SECONDS = 600
"""The longest that a run may take, on a machine that compiles a simulator and does other things besides."""


def straight_and_killed(spec: Path, settings: Mapping[str, Any], out: Path) -> tuple[Path, Path]:
    """The directories of two runs of one seed, one of them killed with SIGKILL after its second checkpoint and resumed.

    Args:
        spec: the file.
        settings: overrides by path, as TOML writes their values; there have to be more than two checkpoints.
        out: an empty folder.

    Raises:
        AssertionError: a run failed, was done before it could be killed, or took more than ten minutes.
    """
    changes = [word for name, value in settings.items() for word in ("-s", f"{name}={value}")]
    with ExitStack() as stack:

        def start(*words: Any) -> subprocess.Popen[str]:
            command = [sys.executable, "-m", "slmk", *map(str, words)]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            stack.callback(process.communicate)
            stack.callback(process.kill)
            return process

        straight = start("run", spec, *changes, "--out", out / "straight")
        killed = start("run", spec, *changes, "--out", out / "killed")
        _wait_for_checkpoints(killed, out / "killed", 2)
        killed.kill()
        killed.wait()
        (directory,) = (out / "killed").glob("*/*")
        assert not (directory / SUMMARY).exists(), "the run was done before it was killed"
        for process in (start("resume", directory), straight):
            printed, _ = process.communicate(timeout=SECONDS)
            assert process.returncode == 0, printed
    (other,) = (out / "straight").glob("*/*")
    return other, directory


def _wait_for_checkpoints(process: subprocess.Popen[str], out: Path, count: int) -> None:
    deadline = time.monotonic() + SECONDS
    while len(list(out.glob(f"*/*/{SESSIONS}/{CHECKPOINTS}/[0-9]*/state.json"))) < count:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, f"no {count} checkpoints in {SECONDS} s"
        time.sleep(0.02)
