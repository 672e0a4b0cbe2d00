"""slmk: a reinforcement-learning lab built as a plugin microkernel. These are its public names.

They are imported when first used, so that ``slmk --help``, ``slmk check`` and ``slmk plugins`` never import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slmk.batch import Act as Act
    from slmk.batch import Obs as Obs
    from slmk.batch import Sample as Sample
    from slmk.batch import Step as Step
    from slmk.batch import Transition as Transition
    from slmk.component import Component as Component
    from slmk.config import Activation as Activation
    from slmk.config import AlgorithmConfig as AlgorithmConfig
    from slmk.config import Config as Config
    from slmk.config import EnvConfig as EnvConfig
    from slmk.config import Exploration as Exploration
    from slmk.config import Fraction as Fraction
    from slmk.config import FractionSchedule as FractionSchedule
    from slmk.config import Gaussian as Gaussian
    from slmk.config import Init as Init
    from slmk.config import LauncherConfig as LauncherConfig
    from slmk.config import Linear as Linear
    from slmk.config import MemoryConfig as MemoryConfig
    from slmk.config import NetworkConfig as NetworkConfig
    from slmk.config import NonNegative as NonNegative
    from slmk.config import NonNegativeInt as NonNegativeInt
    from slmk.config import NonNegativeSchedule as NonNegativeSchedule
    from slmk.config import NormalizerConfig as NormalizerConfig
    from slmk.config import OffPolicyConfig as OffPolicyConfig
    from slmk.config import Positive as Positive
    from slmk.config import PositiveInt as PositiveInt
    from slmk.config import PositiveSchedule as PositiveSchedule
    from slmk.config import RecurrentNetworkConfig as RecurrentNetworkConfig
    from slmk.config import ReporterConfig as ReporterConfig
    from slmk.config import Schedule as Schedule
    from slmk.env_info import EnvInfo as EnvInfo
    from slmk.errors import CheckpointError as CheckpointError
    from slmk.errors import PluginError as PluginError
    from slmk.errors import Problem as Problem
    from slmk.errors import RunError as RunError
    from slmk.errors import SlmkError as SlmkError
    from slmk.errors import SpecError as SpecError
    from slmk.hookspecs import hookimpl as hookimpl
    from slmk.learner import Adam as Adam
    from slmk.learner import Average as Average
    from slmk.learner import Learner as Learner
    from slmk.learner import Objective as Objective
    from slmk.model import Model as Model
    from slmk.policy import Policy as Policy
    from slmk.protocols import Metrics as Metrics
    from slmk.protocols import Parts as Parts
    from slmk.protocols import Role as Role
    from slmk.spec import Blueprint as Blueprint
    from slmk.spec import load as load
    from slmk.trial import resume as resume
    from slmk.trial import run as run

__version__ = "0.1.0"

_HOMES = {
    "batch": ("Act", "Obs", "Sample", "Step", "Transition"),
    "component": ("Component",),
    "config": (
        "Activation",
        "AlgorithmConfig",
        "Config",
        "EnvConfig",
        "Exploration",
        "Fraction",
        "FractionSchedule",
        "Gaussian",
        "Init",
        "LauncherConfig",
        "Linear",
        "MemoryConfig",
        "NetworkConfig",
        "NonNegative",
        "NonNegativeInt",
        "NonNegativeSchedule",
        "NormalizerConfig",
        "OffPolicyConfig",
        "Positive",
        "PositiveInt",
        "PositiveSchedule",
        "RecurrentNetworkConfig",
        "ReporterConfig",
        "Schedule",
    ),
    "env_info": ("EnvInfo",),
    "errors": ("CheckpointError", "PluginError", "Problem", "RunError", "SlmkError", "SpecError"),
    "hookspecs": ("hookimpl",),
    "learner": ("Adam", "Average", "Learner", "Objective"),
    "model": ("Model",),
    "policy": ("Policy",),
    "protocols": ("Metrics", "Parts", "Role"),
    "spec": ("Blueprint", "load"),
    "trial": ("resume", "run"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'slmk' has no attribute {name!r}")
    value = getattr(import_module(f"slmk.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value
