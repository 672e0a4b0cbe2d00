"""Manager-based simulators (mjlab, Isaac Lab) behind slmk's contract: what the plugins for both share."""

from slmk_env_managed.adapter import Adapter, Final
from slmk_env_managed.groups import flat, mixed
from slmk_env_managed.overrides import override

__all__ = ["Adapter", "Final", "flat", "mixed", "override"]
