"""The probe and the toy parts as a plugin file, for specs that are read in other processes: ``plugins = ["…"]``."""

from slmk.testing.probe import slmk_env_backends
from slmk.testing.toy_parts import slmk_algorithms, slmk_memories, slmk_networks

__all__ = ["slmk_algorithms", "slmk_env_backends", "slmk_memories", "slmk_networks"]
