"""Modules with the names and signatures of Isaac Lab, whose environments count: what the plugin's tests run on.

The signatures are those of the wheel ``isaaclab 2.3.2.post1`` (`AppLauncher`, `ManagerBasedRLEnv`, ``parse_cfg``), and
of the repository at 3.0 for ``compute_final_obs``, ``resolve_presets`` and ``collect_presets``, which are here for
configurations without parts. Physics there is none.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace

import gymnasium as gym
import numpy as np
import torch


@dataclass
class SimulationCfg:
    device: str = "cuda:0"
    dt: float = 0.1


@dataclass
class SceneCfg:
    num_envs: int = 4096


@dataclass
class Cfg:
    """Of the environments below, as `ManagerBasedRLEnvCfg` of 2.3.2."""

    sim: SimulationCfg = field(default_factory=SimulationCfg)
    scene: SceneCfg = field(default_factory=SceneCfg)
    decimation: int = 2
    episode_length_s: float = 1.0
    seed: int | None = None
    is_finite_horizon: bool = False
    fall_at: float = 3.0


class PresetCfg:
    """A value to be chosen by name among the fields of a subclass."""


@dataclass
class FallCfg(PresetCfg):
    default: float = 3.0
    newton_mjwarp: float = 100.0
    newton_kamino: float = 50.0


@dataclass
class Cfg3(Cfg):
    """As `ManagerBasedRLEnvCfg` of 3.0."""

    compute_final_obs: bool = False
    fall_at: FallCfg | float = field(default_factory=FallCfg)


class ManagerBasedRLEnv(gym.Env):
    """Each environment adds its actions up from a random start and falls at `cfg.fall_at`."""

    metadata = {"render_modes": [None, "human", "rgb_array"]}  # noqa: RUF012
    critic = True

    def __init__(self, cfg, render_mode=None, **kwargs):
        self.cfg, self.render_mode, self.extras = cfg, render_mode, {}
        self.num_envs, self.device = cfg.scene.num_envs, cfg.sim.device
        self.seed(cfg.seed)
        self.common_step_counter = 0
        self.episode_length_buf = torch.zeros(self.num_envs, dtype=torch.long)
        self.total, self.reward_buf = torch.zeros(self.num_envs, 1), torch.zeros(self.num_envs)
        self.single_action_space = gym.spaces.Box(low=-np.inf, high=np.inf, shape=(1,))
        groups = {"policy": gym.spaces.Box(low=-np.inf, high=np.inf, shape=(1,))}
        if self.critic:
            groups["critic"] = gym.spaces.Box(low=-np.inf, high=np.inf, shape=(2,))
        self.single_observation_space = gym.spaces.Dict(groups)
        self.closed = False

    @property
    def max_episode_length(self):
        return math.ceil(self.cfg.episode_length_s / (self.cfg.sim.dt * self.cfg.decimation))

    def seed(self, seed=-1):
        np.random.seed(seed)  # As Isaac Lab does: more than 32 bits are an error.
        self.generator = torch.Generator().manual_seed(seed)
        return seed

    def reset(self, seed=None, env_ids=None, options=None):
        if seed is not None:
            self.seed(seed)
        self._reset_idx(torch.arange(self.num_envs))
        return self._observations(), self.extras

    def step(self, action):
        self.total += action.to(self.device)
        self.episode_length_buf += 1
        self.common_step_counter += 1
        terminated = self.total[:, 0].abs() >= self.cfg.fall_at
        time_outs = self.episode_length_buf >= self.max_episode_length
        self.reward_buf[:] = self.total[:, 0]
        ended = (terminated | time_outs).nonzero(as_tuple=False).squeeze(-1)
        if len(ended) > 0:
            if getattr(self.cfg, "compute_final_obs", False):
                self.extras["final_obs"] = {name: x.clone() for name, x in self._observations().items()}
            self._reset_idx(ended)
        return self._observations(), self.reward_buf, terminated, time_outs, self.extras

    def render(self, recompute=False):
        return np.zeros((4, 6, 3), np.uint8) if self.render_mode == "rgb_array" else None

    def close(self):
        self.closed = True

    def _reset_idx(self, env_ids):
        self.extras["log"] = {"Episode_Reward/total": self.reward_buf[env_ids].mean()}
        self.total[env_ids] = torch.rand(len(env_ids), 1, generator=self.generator)
        self.episode_length_buf[env_ids] = 0

    def _observations(self):
        obs = {"policy": self.total}
        if self.critic:
            obs["critic"] = torch.cat([self.total, self.episode_length_buf[:, None].float()], -1)
        return obs


class DirectRLEnv(ManagerBasedRLEnv):
    """Without a group for the critic."""

    critic = False


class DirectMARLEnv(ManagerBasedRLEnv):
    """Several agents."""

    possible_agents = ("left", "right")


class AppLauncher:
    """Notes how it was started, and what of Isaac Lab had been imported and stood on the command line then."""

    started = []  # noqa: RUF012

    def __init__(self, launcher_args=None, **kwargs):
        arguments = {**(launcher_args or {}), **kwargs}
        self.app = SimpleNamespace(close=lambda: None)
        AppLauncher.started.append((arguments, list(sys.argv), "isaaclab.envs" in sys.modules))


def install(monkeypatch, version=2):
    """Put the modules in the place of Isaac Lab's, with tasks of version 2 or 3, and return the names of these."""
    cfg = Cfg if version == 2 else Cfg3
    suffix = "-v0" if version == 2 else ""
    for module in ("isaaclab", "isaaclab.app", "isaaclab_tasks", "isaaclab_tasks.utils", "isaaclab_tasks.utils.hydra"):
        monkeypatch.setitem(sys.modules, module, ModuleType(module))
    sys.modules["isaaclab.app"].AppLauncher = AppLauncher
    utils = sys.modules["isaaclab_tasks.utils"]
    utils.load_cfg_from_registry = lambda task, key: gym.spec(task.split(":")[-1]).kwargs[key]()
    if version == 3:
        hydra = sys.modules["isaaclab_tasks.utils.hydra"]
        hydra.collect_presets, hydra.resolve_presets = collect_presets, resolve_presets
        utils.resolve_presets = resolve_presets
    registry = {name: spec for name, spec in gym.registry.items() if not name.startswith("Isaac-")}
    monkeypatch.setattr(gym.envs.registration, "registry", registry)
    monkeypatch.setattr(gym, "registry", registry)
    for name, entry_point in (("Count", ManagerBasedRLEnv), ("Count-Direct", DirectRLEnv), ("Two", DirectMARLEnv)):
        gym.register(
            id=f"Isaac-{name}{suffix}",
            entry_point=entry_point,
            disable_env_checker=True,
            kwargs={"env_cfg_entry_point": cfg},
        )


def collect_presets(cfg, path=""):
    """The choices of each value, by its path."""
    return {name: vars(value) for name, value in vars(cfg).items() if isinstance(value, PresetCfg)}


def resolve_presets(cfg, selected=()):
    """In each place the choice that is selected, or the default; names that no place has are passed over."""
    for path, choices in collect_presets(cfg).items():
        found = {name: choices[name] for name in selected if name in choices} or {"default": choices["default"]}
        if len(set(found.values())) > 1:
            raise ValueError(f"Conflicting global presets for '{path}': {', '.join(found)}")
        setattr(cfg, path, next(iter(found.values())))
    return cfg
