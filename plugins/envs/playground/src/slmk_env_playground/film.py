"""Pictures of one environment, drawn by MuJoCo from the state that JAX has computed."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt

from slmk.errors import Problem, RunError, SpecError, did_you_mean
from slmk.toolbox.mujoco_log import mujoco_warnings_logged

__all__ = ["Film"]

HEIGHT, WIDTH = 240, 320


class Film:
    """A renderer that is made once: to make one takes ten times as long as to draw a picture."""

    def __init__(self, model: mujoco.MjModel, camera: str) -> None:
        """Open a renderer.

        Args:
            model: what is drawn.
            camera: its name; empty for the free one.

        Raises:
            SpecError: the model has no such camera.
            RunError: there is no library that draws.
        """
        names = [model.camera(index).name for index in range(model.ncam)]
        if camera and camera not in names:
            hint = did_you_mean(camera, names) or f"cameras are {', '.join(names) or 'none but the free one'}"
            raise SpecError([Problem("the model has no camera of this name", "env.camera", found=camera, hint=hint)])
        self._camera = camera or -1
        self._model, self._data = model, mujoco.MjData(model)
        try:
            with mujoco_warnings_logged():
                self._renderer = mujoco.Renderer(model, HEIGHT, WIDTH)
        except (mujoco.FatalError, RuntimeError, ImportError, AttributeError) as error:
            reason = str(error).strip().splitlines()[0]
            message = (
                f"MuJoCo cannot draw: {reason}; set MUJOCO_GL=egl (libegl1) or osmesa (libosmesa6), see slmk doctor"
            )
            raise RunError(message) from error

    def picture(self, data: Any) -> npt.NDArray[np.uint8]:
        """An RGB picture (H, W, 3) of an environment's ``State.data``."""
        own = self._data
        own.qpos, own.qvel = np.asarray(data.qpos), np.asarray(data.qvel)
        own.mocap_pos, own.mocap_quat = np.asarray(data.mocap_pos), np.asarray(data.mocap_quat)
        own.xfrc_applied = np.asarray(data.xfrc_applied)
        mujoco.mj_forward(self._model, own)
        self._renderer.update_scene(own, camera=self._camera)
        return self._renderer.render()

    def close(self) -> None:
        """Free the renderer."""
        self._renderer.close()
