"""Values that change over a run, by hand."""

import pytest

from slmk import Linear
from slmk.toolbox.schedules import at


@pytest.mark.parametrize(
    ("progress", "expected"), [(0.0, 10.0), (0.1, 8.0), (0.25, 5.0), (0.5, 0.0), (0.75, 0.0), (1.0, 0.0)]
)
def test_a_line_ends_at_its_share_of_the_run(progress, expected):
    """From 10 to 0 in the first half of a run, and 0 in the second."""
    assert at(Linear(start=10.0, end=0.0, until=0.5), progress) == pytest.approx(expected)


def test_a_constant_stays():
    """Whole numbers come as floats."""
    assert [at(3, progress) for progress in (0.0, 1.0)] == [3.0, 3.0]
    assert isinstance(at(3, 0.5), float)
