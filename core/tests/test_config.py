"""The limits that schedules keep, and what the base of off-policy options refuses."""

import pytest
from pydantic import TypeAdapter, ValidationError

from slmk import FractionSchedule, Linear, NonNegativeSchedule, OffPolicyConfig, PositiveSchedule
from slmk.config import EnvConfig, RunConfig
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
    ("options", "num_envs", "env_steps", "paths"),
    [
        ({"learning_starts": 1000}, 1, 1000, ["learning_starts"]),
        ({"learning_starts": 1000}, 1, 1001, []),
        ({"learning_starts": 901}, 300, 1000, ["learning_starts"]),  # Its four iterations begin at 0, 300, 600, 900.
        ({"learning_starts": 900}, 300, 1000, []),
        ({"batch_size": 101, "horizon": 5}, 10, 100, ["batch_size"]),
        ({"batch_size": 100, "horizon": 5}, 10, 100, []),
        ({"learning_starts": 1000, "utd_ratio": 0.25}, 1, 1003, ["utd_ratio"]),
        ({"learning_starts": 1000, "utd_ratio": 0.25}, 1, 1004, []),
        (
            {"batch_size": 256, "utd_ratio": 0.01},
            1,
            354,
            ["utd_ratio"],
        ),  # The first update comes after 256 transitions.
        ({"batch_size": 256, "utd_ratio": 0.01}, 1, 355, []),
    ],
)
def test_a_run_that_would_learn_nothing_is_refused(options, num_envs, env_steps, paths):
    """The warm-up, and the filling of the memory, have to leave time for a gradient step."""
    spec = {"run": RunConfig(env_steps=env_steps), "env": EnvConfig(num_envs=num_envs)}
    assert [path for path, _ in OffPolicyConfig(**options).problems(spec)] == paths


def test_without_a_budget_there_is_nothing_to_compare():
    """A spec whose section `run` is wrong has that problem alone."""
    assert list(OffPolicyConfig(learning_starts=1000).problems({})) == []


def test_incidental_options_are_options():
    """A misspelt one would silently count as part of the task."""
    with pytest.raises(TypeError, match=r"RobotEnv\.incidental names camra, which it has no options for"):

        class RobotEnv(EnvConfig):
            incidental = EnvConfig.incidental | {"camra"}
            camera: str = "side"
