"""Fixtures for everybody who has slmk installed. Every pytest run imports this module: it imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from slmk.registry import Registry
    from slmk.trial import Result

__all__ = ["run_spec", "slmk_registry", "throughput"]


@pytest.fixture(scope="session")
def slmk_registry() -> Registry:
    """The installed plugins, with the toys of `slmk.testing` beside them."""
    from slmk.registry import get_registry
    from slmk.testing.subject import with_toys

    return with_toys(get_registry())


@pytest.fixture
def run_spec(tmp_path: Path) -> Callable[..., Result]:
    """Trains a spec, a mapping or a path, below `tmp_path`: ``run_spec(spec, overrides=())`` gives the result."""

    def train(spec: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> Result:
        from slmk.trial import run

        return run(spec, overrides, out=tmp_path / "runs")

    return train


@pytest.fixture
def throughput(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> Callable[..., float]:
    """How many times as fast as `b` is `a`: ``throughput(a, b, at_least=2)``; see `slmk.testing.timing.throughput`.

    The test fails where it is less than `at_least`. The ratio is recorded as a property of the test, and with the
    results of pytest-benchmark where the test uses its fixture too: call that first, as nothing follows a failure.
    """

    def measure(a: Callable[[], object], b: Callable[[], object], rounds: int = 15, at_least: float = 0.0) -> float:
        from slmk.testing.timing import throughput

        ratio = throughput(a, b, rounds)
        record_property("throughput", ratio)
        if "benchmark" in request.fixturenames:
            request.getfixturevalue("benchmark").extra_info.update(throughput=ratio, at_least=at_least)
        assert ratio >= at_least, f"{ratio:.2f} times as fast, where at least {at_least:.4g} is asked for"
        return ratio

    return measure
