"""Every task of mjlab behind the contract; a minute each, since each compiles kernels of its own."""

import mujoco
import numpy as np
import pytest
import torch

pytest.importorskip("mjlab", reason="mjlab has an environment of its own: .venv-mjlab")

import mjlab.tasks  # noqa: F401 - registers them
from mjlab.tasks.registry import list_tasks, load_env_cfg

from slmk.errors import SpecError
from slmk.testing import Subject, check_subject, checks_of
from slmk_env_mjlab import MjlabConfig
from slmk_env_mjlab.backend import MjlabEnv

TRACKING = [name for name in list_tasks() if "Tracking" in name]
"""These need a recorded motion, which does not come with mjlab."""
RATE = 50
"""Frames of a motion per second, as many as steps of the tasks."""


@pytest.fixture(scope="session")
def motion(tmp_path_factory):
    """A motion of two seconds in mjlab's format: the robot stands and bends all its joints to and fro."""
    robot = load_env_cfg(TRACKING[0]).scene.entities["robot"]
    model = robot.spec_fn().compile()
    frames = []
    for phase in 2 * np.pi * np.arange(2 * RATE) / (2 * RATE):
        data = mujoco.MjData(model)
        data.qpos[:7] = *robot.init_state.pos, *robot.init_state.rot
        data.qpos[7:], data.qvel[6:] = 0.2 * np.sin(phase), 0.2 * np.pi * np.cos(phase)
        mujoco.mj_forward(model, data)
        speed = np.zeros((model.nbody, 6))
        for body in range(model.nbody):
            mujoco.mj_objectVelocity(model, data, mujoco.mjtObj.mjOBJ_XBODY, body, speed[body], 0)
        frames.append(
            {
                "joint_pos": data.qpos[7:],
                "joint_vel": data.qvel[6:],
                "body_pos_w": data.xpos[1:],  # Without the world.
                "body_quat_w": data.xquat[1:],
                "body_lin_vel_w": speed[1:, 3:],
                "body_ang_vel_w": speed[1:, :3],
            }
        )
    path = tmp_path_factory.mktemp("motions") / "bends.npz"
    np.savez(path, fps=RATE, **{name: np.stack([frame[name] for frame in frames]) for name in frames[0]})
    return str(path)


@pytest.mark.nightly
@pytest.mark.parametrize("name", list_tasks())
def test_the_contract_holds(name, motion):
    """Every check passes with episodes of some 20 steps."""
    overrides = {"episode_length_s": 0.4} | ({"commands.motion.motion_file": motion} if name in TRACKING else {})
    subject = Subject.find("env", "mjlab", options={"id": name, "overrides": overrides})
    report = check_subject(subject, checks_of("env", common=False))
    assert report.ok, str(report)


@pytest.mark.parametrize("name", TRACKING)
def test_a_task_that_follows_a_motion_asks_for_one(name):
    """The message says where to name it, rather than that a file without a name is not there."""
    with pytest.raises(SpecError, match=r"follows a recorded motion, and none is given.*commands\.motion\.motion_file"):
        MjlabEnv(MjlabConfig(id=name, num_envs=2), device=torch.device("cpu"), seed=0)
