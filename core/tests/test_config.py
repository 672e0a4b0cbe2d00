"""The limits that schedules keep, and what the base of off-policy options refuses."""

import pytest
from pydantic import TypeAdapter, ValidationError

from slmk import FractionSchedule, Linear, NonNegativeSchedule, OffPolicyConfig, PositiveSchedule
from slmk.config import RunConfig
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


@pytest.mark.parametrize(
    ("options", "env_steps", "paths"),
    [
        ({"learning_starts": 1000}, 1000, ["learning_starts"]),
        ({"learning_starts": 1000}, 1001, []),
        ({"learning_starts": 1000, "utd_ratio": 0.25}, 1003, ["utd_ratio"]),
        ({"learning_starts": 1000, "utd_ratio": 0.25}, 1004, []),
    ],
)
def test_a_run_that_would_learn_nothing_is_refused(options, env_steps, paths):
    """The warm-up has to leave time for a gradient step."""
    problems = OffPolicyConfig(**options).problems({"run": RunConfig(env_steps=env_steps)})
    assert [path for path, _ in problems] == paths


def test_without_a_budget_there_is_nothing_to_compare():
    """A spec whose section `run` is wrong has that problem alone."""
    assert list(OffPolicyConfig(learning_starts=1000).problems({})) == []
