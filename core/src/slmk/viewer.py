"""Shows frames in a window or writes them to a video. Both libraries are extras, imported when first used."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from slmk.errors import RunError

__all__ = ["Film", "Window"]

FPS = 30
"""Frames per second, of the window and of the video."""
FORMATS = (".mp4", ".gif")
"""Suffixes of video files."""

Frame = npt.NDArray[np.uint8]


def _checked(frame: Frame | None) -> Frame:
    if frame is None:
        raise RunError("this environment has no renderer, so there is nothing to show")
    return frame


class Window:
    """A window that shows RGB frames in real time (pygame)."""

    def __enter__(self) -> Window:
        try:
            import pygame
        except ModuleNotFoundError as error:
            raise RunError("a window needs pygame: pip install pygame") from error
        self._pygame: Any = pygame
        if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"} & os.environ.keys():
            raise RunError("there is no display to open a window on; --video writes a film instead")
        pygame.display.init()
        pygame.display.set_caption("slmk")
        self._clock = pygame.time.Clock()
        self._screen: Any = None
        return self

    def show(self, frame: Frame | None) -> None:
        """Show one frame (H, W, 3) and wait until the next is due.

        Raises:
            RunError: there is no frame, no display, or the window was closed.
        """
        pygame, picture = self._pygame, _checked(frame)
        size = picture.shape[1], picture.shape[0]
        try:
            self._screen = self._screen or pygame.display.set_mode(size)
        except pygame.error as error:
            raise RunError(f"cannot open a window: {error}; use --video FILE instead") from error
        if any(event.type == pygame.QUIT for event in pygame.event.get()):
            raise RunError("the window was closed")
        self._screen.blit(pygame.surfarray.make_surface(picture.swapaxes(0, 1)), (0, 0))
        pygame.display.flip()
        self._clock.tick(FPS)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pygame.display.quit()


class Film:
    """A video file of RGB frames; the suffix names the format."""

    def __init__(self, path: Path) -> None:
        """Write to `path`.

        Raises:
            RunError: its suffix names no format of a video.
        """
        if path.suffix.lower() not in FORMATS:
            raise RunError(f"cannot write the video {path}: its name has to end in {' or '.join(FORMATS)}")
        self.path = path

    def __enter__(self) -> Film:
        try:
            import imageio.v2 as imageio
        except ModuleNotFoundError as error:
            raise RunError("a video needs imageio: pip install 'slmk[video]'") from error
        options: dict[str, Any] = (
            {"fps": FPS} if self.path.suffix.lower() != ".gif" else {"duration": 1000 / FPS, "loop": 0}
        )
        if self.path.suffix.lower() == ".mp4":
            options["macro_block_size"] = 2
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._writer: Any = imageio.get_writer(self.path, **options)
        except (OSError, ValueError) as error:
            raise RunError(f"cannot write the video {self.path}: {error}") from error
        return self

    def add(self, frame: Frame | None) -> None:
        """Append one frame (H, W, 3)."""
        self._writer.append_data(_checked(frame))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
