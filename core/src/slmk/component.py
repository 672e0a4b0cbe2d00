"""The record by which a plugin offers one capability, and the kinds of capability there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from slmk.config import Config

__all__ = ["API", "KINDS", "KINDS_BY_SECTION", "Component", "Kind", "env_title"]

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
    install_note: str = ""
    """What else to mind then, such as an environment or an index of its own; follows the command in brackets."""
    api: int = API
    """The contract version the plugin was written for."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of capability: how it is called in the spec, on the command line, among the hooks and by people."""

    name: str
    """Singular, for the command line and for distribution names: ``slmk describe algo ppo``, ``slmk-algo-ppo``."""
    section: str
    """The table of a spec that chooses a component of this kind."""
    hook: str
    """The hook that offers components of this kind."""
    folder: str
    """The folder under ``plugins/``."""
    word: str
    """What a person calls a component of this kind."""
    config: str
    """The name in `slmk.config` of the base of its options; a name, so that listing commands imports no pydantic."""
    form: Literal["one", "by role", "list"] = "one"
    """How many a spec chooses: one at most, one for each role, or a list."""

    @property
    def header(self) -> str:
        """The header of a table that chooses one: ``[env]``, ``[network.<role>]``, ``[[reporter]]``."""
        return {"one": "[{}]", "by role": "[{}.<role>]", "list": "[[{}]]"}[self.form].format(self.section)


KINDS: Final[dict[str, Kind]] = {
    kind.name: kind
    for kind in (
        Kind("env", "env", "slmk_env_backends", "envs", "environment backend", "EnvConfig"),
        Kind("algo", "algorithm", "slmk_algorithms", "algos", "algorithm", "AlgorithmConfig"),
        Kind("net", "network", "slmk_networks", "nets", "network", "NetworkConfig", "by role"),
        Kind("memory", "memory", "slmk_memories", "memory", "memory", "MemoryConfig"),
        Kind(
            "normalizer", "normalizer", "slmk_normalizers", "normalizers", "normalizer", "NormalizerConfig", "by role"
        ),
        Kind("reporter", "reporter", "slmk_reporters", "reporters", "reporter", "ReporterConfig", "list"),
        Kind("launcher", "launcher", "slmk_launchers", "launchers", "launcher", "LauncherConfig"),
    )
}
"""Every kind by its name. `slmk_commands` and `slmk_checks` are hooks too, but offer no components."""
KINDS_BY_SECTION: Final[dict[str, Kind]] = {kind.section: kind for kind in KINDS.values()}
"""Every kind by its section of a spec."""


def env_title(section: Mapping[str, Any]) -> str:
    """What an environment is called, by its section of a spec or a manifest: its id, or its backend's name."""
    return str(section.get("id") or section.get("name") or "unknown environment")
