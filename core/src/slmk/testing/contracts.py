"""The contract of each kind as a class for pytest: inherit, name the component, and each promise is a test.

.. code-block:: python

    from slmk.testing import AlgorithmContract

    class TestMine(AlgorithmContract):
        component = "mine"
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from slmk.registry import Registry
from slmk.testing.subject import Skip, Subject
from slmk.testing.suite import checks_of, run_check

if TYPE_CHECKING:
    import pytest

__all__ = [
    "AlgorithmContract",
    "Contract",
    "EnvContract",
    "LauncherContract",
    "MemoryContract",
    "NetworkContract",
    "NormalizerContract",
    "ReporterContract",
]


class Contract:
    """Base of the contracts. A subclass whose name begins with ``Test`` is collected by pytest."""

    kind: ClassVar[str]
    """A key of `slmk.component.KINDS`."""
    component: ClassVar[str]
    """The component's name in a spec."""
    options: ClassVar[Mapping[str, Any]] = {}
    """Options of the component, as a spec would state them."""
    skip: ClassVar[Mapping[str, str]] = {}
    """Promises that do not apply, each with the reason."""
    registry: ClassVar[Registry | None] = None
    """Where the component is looked up; the installed plugins by default."""

    def given(self) -> dict[str, Any]:
        """What the component is checked with; see `slmk.testing.subject.Subject`."""
        return {"options": self.options}

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """One test for each promise."""
        if "promise" in metafunc.fixturenames:
            metafunc.parametrize("promise", checks_of(self.kind))

    def test_contract(self, promise: str) -> None:
        """The component keeps the promise."""
        import pytest

        if promise in self.skip:
            pytest.skip(self.skip[promise])
        subject = Subject.find(self.kind, self.component, self.registry, **self.given())
        try:
            run_check(checks_of(self.kind)[promise], subject)
        except Skip as skip:
            pytest.skip(str(skip))


class EnvContract(Contract):
    """What every environment backend promises. Give `options` of an environment with short episodes."""

    kind = "env"


class AlgorithmContract(Contract):
    """What every algorithm promises. Give `options` with short iterations."""

    kind = "algo"
    sections: ClassVar[Mapping[str, Any]] = {}
    """Sections of a spec that replace the toy ones, such as ``memory`` or ``network``."""
    learning: ClassVar[Mapping[str, Any]] = {}
    """Further options for the tasks that have to be learned."""
    learning_steps: ClassVar[int] = 30_000
    """Environment steps within which a toy task has to be learned; values get four times as many."""

    def given(self) -> dict[str, Any]:
        """Options, sections, and how to learn."""
        return {
            "options": self.options,
            "sections": self.sections,
            "learning": self.learning,
            "learning_steps": self.learning_steps,
        }


class NetworkContract(Contract):
    """What every network promises."""

    kind = "net"


class MemoryContract(Contract):
    """What every memory promises."""

    kind = "memory"


class NormalizerContract(Contract):
    """What every normalizer promises."""

    kind = "normalizer"


class ReporterContract(Contract):
    """What every reporter promises."""

    kind = "reporter"


class LauncherContract(Contract):
    """What every launcher promises."""

    kind = "launcher"
