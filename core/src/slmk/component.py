"""The record by which a plugin offers one capability, and the kinds of capability there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from slmk.config import Config

__all__ = ["API", "KINDS", "Component", "Kind", "env_title"]

API: Final = 1
"""Version of the plugin contract. A component made for another one is refused by name."""


@dataclass(frozen=True, slots=True)
class Component:
    """One capability that a plugin offers: its name in a spec, its typed options and where its code is.

    The record is cheap on purpose: `target` stays a string and is imported only when a spec asks for `name`, so that
    listing and checking import no simulator and no torch.
    """

    name: str
    """The name a spec uses, such as ``sac``; unique within its kind."""
    config: type[Config]
    """The options, a frozen subclass of the kind's config base (see `slmk.config`)."""
    target: str
    """``"module:attribute"`` of the factory; the hook's docstring says how it is called."""
    summary: str
    """One line for `slmk plugins`."""
    requires: tuple[str, ...] = ()
    """Modules that must be importable for the target to work, such as ``("envpool",)``; looked up, not imported."""
    install: str = ""
    """What to install when one of `requires` is missing, such as ``slmk-env-envpool[all]``."""
    api: int = API
    """The contract version the plugin was written for."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of capability: how it is called in the spec, on the command line and among the hooks."""

    name: str
    """Singular, for the command line and for distribution names: ``slmk describe algo ppo``, ``slmk-algo-ppo``."""
    section: str
    """The table of a spec that chooses a component of this kind."""
    hook: str
    """The hook that offers components of this kind."""
    folder: str
    """The folder under ``plugins/``."""


KINDS: Final[dict[str, Kind]] = {
    kind.name: kind
    for kind in (
        Kind("env", "env", "slmk_env_backends", "envs"),
        Kind("algo", "algorithm", "slmk_algorithms", "algos"),
        Kind("net", "network", "slmk_networks", "nets"),
        Kind("memory", "memory", "slmk_memories", "memory"),
        Kind("normalizer", "normalizer", "slmk_normalizers", "normalizers"),
        Kind("reporter", "reporter", "slmk_reporters", "reporters"),
        Kind("launcher", "launcher", "slmk_launchers", "launchers"),
    )
}
"""Every kind by its name. `slmk_commands` and `slmk_checks` are hooks too, but offer no components."""


def env_title(section: Mapping[str, Any]) -> str:
    """What an environment is called, by its section of a spec or a manifest: its id, or its backend's name."""
    return str(section.get("id") or section.get("name") or "unknown environment")
