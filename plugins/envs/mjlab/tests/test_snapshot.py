"""Walking through objects: what is found, and that it goes back where it was."""

from collections import deque
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from slmk.errors import CheckpointError
from slmk.testing.checkpoints import through_a_file

pytest.importorskip("mjlab", reason="mjlab has an environment of its own: .venv-mjlab")

import warp as wp

from slmk_env_mjlab.snapshot import restore, snapshot

FOLLOWING = ("cam_pos0", "cam_poscom0", "cam_mat0", "light_pos0", "light_poscom0", "light_dir0")
"""What `mujoco_warp.set_const` computes for all environments at once."""


@dataclass(slots=True)
class Slotted:
    count: int = 0


@dataclass
class Term:
    weight: float = 1.0
    ranges: tuple = ((0.0, 1.0), (0.0, 2.0))
    memory: torch.Tensor | None = None
    slots: Slotted = field(default_factory=Slotted)


class Manager:
    def __init__(self):
        self.terms = {"walk": Term(), "stand": Term()}
        self.buffer = torch.zeros(3)
        self.view = self.buffer[1:]
        self.history = deque([torch.zeros(1)])
        self.array = np.zeros(2)
        self.step = np.int64(0)
        self.hits = wp.zeros(2, dtype=wp.vec3)
        self.handles = wp.zeros(2, dtype=wp.uint64)
        self.func = len
        self.itself = self


def world():
    """What `snapshot` looks at of a simulation: its objects, and physics of two environments."""
    model = SimpleNamespace(
        geom_friction=wp.zeros((2, 1), dtype=wp.vec3),
        actuator_gainprm=wp.zeros((2, 1), dtype=wp.types.vector(10, float)),
        body_mass=wp.zeros(1, dtype=float),
        **{name: wp.zeros((1, 1), dtype=wp.mat33 if name == "cam_mat0" else wp.vec3) for name in FOLLOWING},
        stat=SimpleNamespace(meaninertia=wp.zeros(1, dtype=float)),
    )
    sim = SimpleNamespace(
        wp_data=SimpleNamespace(qpos=wp.zeros((2, 3), dtype=float), empty=wp.zeros(0, dtype=float), nv=3),
        wp_model=model,
        expanded_fields={"geom_friction", "actuator_gainprm"},
    )
    env = SimpleNamespace(manager=Manager(), obs_buf=torch.zeros(1), common_step_counter=0)
    return SimpleNamespace(**vars(env), sim=Physics(sim))


def Physics(sim):
    from mjlab.sim.sim import Simulation

    it = Simulation.__new__(Simulation)
    it._wp_data, it._wp_model, it._expanded_fields = sim.wp_data, sim.wp_model, sim.expanded_fields
    return it


def changed():
    env = world()
    manager = env.manager
    env.common_step_counter = 7
    manager.terms["walk"].weight = 0.5
    manager.terms["walk"].ranges = ((-1.0, 1.0), (0.0, 2.0))
    manager.terms["stand"].memory = torch.ones(2)
    manager.terms["stand"].slots.count = 4
    manager.buffer += torch.arange(3)
    manager.history[0] += 5
    manager.array[:] = 2
    manager.step = np.int64(9)
    manager.hits.fill_(3.0)
    env.sim.wp_data.qpos.fill_(1.5)
    env.sim.wp_model.geom_friction.fill_(0.7)
    env.sim.wp_model.actuator_gainprm.fill_(8.0)
    env.sim.wp_model.cam_mat0.fill_(6.0)
    env.sim.wp_model.stat.meaninertia.fill_(0.4)
    return env


def test_everything_that_changed_goes_back():
    """Numbers, tuples, tensors and arrays of three libraries; views stay views, and tuples tuples."""
    saved = through_a_file(snapshot(changed()))
    env = world()
    restore(env, saved)
    manager = env.manager
    assert env.common_step_counter == 7
    assert (manager.terms["walk"].weight, manager.terms["stand"].weight) == (0.5, 1.0)
    assert manager.terms["walk"].ranges == ((-1.0, 1.0), (0.0, 2.0))
    assert manager.terms["stand"].memory.tolist() == [1, 1]
    assert manager.terms["stand"].slots.count == 4
    assert manager.view.tolist() == [1, 2]
    assert manager.view.data_ptr() == manager.buffer[1:].data_ptr()
    assert manager.history[0].tolist() == [5]
    assert manager.array.tolist() == [2, 2]
    assert manager.step == 9
    assert (manager.hits.numpy() == 3).all()
    assert (env.sim.wp_data.qpos.numpy() == 1.5).all()
    assert (env.sim.wp_model.geom_friction.numpy() == np.float32(0.7)).all()
    assert (env.sim.wp_model.actuator_gainprm.numpy() == 8).all()
    assert (env.sim.wp_model.cam_mat0.numpy() == 6).all()
    assert (env.sim.wp_model.stat.meaninertia.numpy() == np.float32(0.4)).all()


def test_what_does_not_fit_is_replaced_on_the_same_device():
    """Checkpoints are read to the CPU, wherever the simulation is."""
    saved, env = through_a_file(snapshot(changed())), world()
    env.manager.terms["stand"].memory = torch.zeros(3, device="meta")
    restore(env, saved)
    memory = env.manager.terms["stand"].memory
    assert (memory.shape, memory.device.type) == ((2,), "meta")


def test_handles_and_what_is_written_first_are_left_out():
    """Handles mean nothing to another process."""
    found = snapshot(world())
    assert "manager.handles" not in found["objects"]
    assert "obs_buf" not in found["objects"]
    model = {"geom_friction", "actuator_gainprm", "stat.meaninertia", *FOLLOWING}
    assert set(found["physics"]) == {"data.qpos", *(f"model.{name}" for name in model)}


def test_other_objects_are_refused_by_name():
    """A term more or less is another task."""
    env = changed()
    env.manager.terms["run"] = Term()
    with pytest.raises(CheckpointError, match=r"manager\.terms\.run\.memory"):
        restore(world(), snapshot(env))
