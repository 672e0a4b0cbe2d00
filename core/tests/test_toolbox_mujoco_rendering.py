"""What the doctor says of drawing with MuJoCo."""

import pytest

from slmk.toolbox import mujoco_rendering as module


@pytest.mark.parametrize(
    ("libraries", "environment", "state", "words"),
    [
        ({"EGL", "GL"}, {}, "note", "set MUJOCO_GL=egl"),
        ({"OSMesa"}, {}, "note", "set MUJOCO_GL=osmesa"),
        ({"GL"}, {}, "note", "install libegl1 or libosmesa6"),
        ({"EGL"}, {"MUJOCO_GL": "egl"}, "ok", ""),
        ({"GL"}, {"DISPLAY": ":0"}, "ok", ""),
    ],
)
def test_without_a_display_it_says_what_to_do(libraries, environment, state, words, monkeypatch):
    """Choose a library that is there, or install one; with a display, or a library that was chosen, all is well."""
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "MUJOCO_GL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(module, "find_spec", lambda name: name)
    monkeypatch.setattr(module, "find_library", lambda name: name if name in libraries else None)
    (finding,) = module.mujoco_rendering()
    assert finding.state == state
    assert words in finding.advice


def test_without_mujoco_there_is_nothing_to_say(monkeypatch):
    """Nobody needs what it needs."""
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert list(module.mujoco_rendering()) == []
