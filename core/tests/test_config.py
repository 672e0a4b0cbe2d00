"""The limits that schedules keep, as constants and as lines."""

import pytest
from pydantic import TypeAdapter, ValidationError

from slmk import FractionSchedule, Linear, NonNegativeSchedule, PositiveSchedule
from slmk.toolbox.schedules import at


@pytest.mark.parametrize(
    ("schedule", "lowest", "allowed", "refused"),
    [
        (NonNegativeSchedule, 0.0, (7.0,), (-0.1,)),
        (PositiveSchedule, 1e-9, (7.0,), (0.0, -0.1)),
        (FractionSchedule, 0.0, (0.5, 1.0), (-0.1, 1.1)),
    ],
)
def test_a_schedule_keeps_its_limits_from_start_to_end(schedule, lowest, allowed, refused):
    """Whatever is refused as a constant is so at either end of a line, and the rest is neither."""
    values = TypeAdapter(schedule)
    for value in (lowest, *allowed):
        assert at(values.validate_python(value), 0.5) == value
        for line in (Linear(start=value, end=lowest), Linear(start=lowest, end=value)):
            assert values.validate_python(line) is line
    for value in refused:
        for wrong in (value, Linear(start=value, end=lowest), {"start": lowest, "end": value}):
            with pytest.raises(ValidationError):
                values.validate_python(wrong)
