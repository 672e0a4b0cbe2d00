"""What MuJoCo needs to draw pictures, for ``slmk doctor``: plugins of simulators on MuJoCo offer this check."""

from __future__ import annotations

import os
from collections.abc import Iterator
from ctypes.util import find_library
from importlib.util import find_spec

from slmk.findings import Finding

__all__ = ["mujoco_rendering"]


def mujoco_rendering() -> Iterator[Finding]:
    """Whether MuJoCo can draw here, with or without a display; nothing where MuJoCo is not installed."""
    if find_spec("mujoco") is None:
        return
    backends = {"egl": "EGL", "osmesa": "OSMesa", "glfw": "GL"}
    found = [name for name, library in backends.items() if find_library(library)]
    display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    detail = f"GL libraries for {', '.join(found) or 'nothing'}; {'a display' if display else 'no display'}"
    chosen = os.environ.get("MUJOCO_GL", "")
    if chosen:
        detail += f"; MUJOCO_GL={chosen}"
    headless = [name for name in found if name != "glfw"]
    if not display and not headless:
        advice = "for videos without a display install libegl1 or libosmesa6"
        yield Finding("note", "rendering", detail, advice)
    elif not display and not chosen:
        yield Finding("note", "rendering", detail, f"for MuJoCo without a display set MUJOCO_GL={headless[0]}")
    else:
        yield Finding("ok", "rendering", detail)
