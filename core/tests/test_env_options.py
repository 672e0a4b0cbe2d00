"""Options that every environment has: an environment after the tutorial, which declares none of its own."""

from copy import copy

import imageio.v3 as iio
import pytest
import torch

from slmk.component import env_title
from slmk.errors import RunError, SpecError
from slmk.files import read_json
from slmk.loop import iterate
from slmk.scoring import score
from slmk.session import Session
from slmk.spec import load
from slmk.testing.checkpoints import through_a_file
from slmk.testing.compare import first_difference
from slmk.testing.toy_runs import make_run_directory, toy_spec

PLUGIN = '''
"""Three steps of reward 1, whatever is done; a picture where one is asked for."""

import numpy as np
import torch
from gymnasium import spaces
from slmk import Component, EnvConfig, EnvInfo, Step, hookimpl


class Three:
    choice = "fast"

    def __init__(self, config, *, device, seed):
        self.config, groups = config, {"obs": spaces.Box(0.0, 3.0, (1,))}
        self.info = EnvInfo(config.num_envs, groups, spaces.Discrete(2), device, 3, exact_state=True)
        self.age = torch.zeros(config.num_envs, 1)

    def reset(self, seed=None):
        self.age = torch.zeros_like(self.age)
        return {"obs": self.age}

    def step(self, action):
        final = self.age = self.age + 1
        over = final[:, 0] == 3
        self.age = torch.where(over[:, None], 0.0, final)
        return Step({"obs": self.age}, {"obs": final}, torch.ones(len(over)), over, torch.zeros_like(over))

    def render(self):
        return np.full((16, 16, 3), 80 * int(self.age[0]), np.uint8) if self.config.render else None

    def close(self): ...


class Blind(Three):
    def render(self): ...


@hookimpl
def slmk_env_backends():
    return [Component(name, EnvConfig, f"three:{name.title()}", "three steps") for name in ("three", "blind")]
'''


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    """A spec with an environment of the plugin, by name and options."""
    plugin = tmp_path_factory.mktemp("plugin") / "three.py"
    plugin.write_text(PLUGIN)

    def make(name="three", **env):
        spec = toy_spec()
        return spec | {"plugins": [*spec["plugins"], str(plugin)], "env": {"name": name, **env}}

    return make


def test_training_rewards_are_scaled_and_those_of_evaluation_are_not(spec):
    """The environment does not know of the scale."""
    session = Session(load(spec(num_envs=2, reward_scale=2.5)), seed=0)
    step = session.env.step(torch.zeros(2, dtype=torch.int64))
    assert step.reward.tolist() == [2.5, 2.5]
    assert step.reward.dtype == torch.float32
    assert session.evaluator(session.algorithm.policy, 0).returns == (3.0, 3.0)


def test_a_run_with_scaled_rewards_is_resumed_exactly(spec):
    """Also where the environment's state is collected from its attributes."""
    blueprint = load(spec(num_envs=2, reward_scale=2.5))
    straight, resumed = Session(blueprint, seed=0), Session(blueprint, seed=0)
    next(iterate(straight))
    resumed.load_state_dict(through_a_file(straight.state_dict(), straight.env.info.device))
    assert resumed.env.step(torch.zeros(2, dtype=torch.int64)).obs["obs"].tolist() == (straight.obs["obs"] + 1).tolist()
    straight.env.step(torch.zeros(2, dtype=torch.int64))
    assert first_difference(straight.state_dict() | {"seconds": 0}, resumed.state_dict() | {"seconds": 0}) is None


def test_what_is_saved_of_an_environment_does_not_depend_on_what_stands_before_it(spec):
    """Its state is the same where rewards are scaled or steps checked; and checks come first, so that they explain."""
    plain = spec(num_envs=2)
    both = spec(num_envs=2, reward_scale=2.5)
    both["run"] = both["run"] | {"debug": True}
    one, other = (Session(load(each), seed=0) for each in (plain, both))
    assert one.state_dict()["env"].keys() == other.state_dict()["env"].keys()
    other.backend.step = lambda action: (action,)
    with pytest.raises(RunError, match=r"step\(\) returned a tuple, expected a Step"):
        other.env.step(torch.zeros(2, dtype=torch.int64))
    assert copy(other.env).info is other.env.info


def test_what_an_environment_has_chosen_is_recorded(spec, tmp_path):
    """In the session's summary, beside how the algorithm learns."""
    run = make_run_directory(tmp_path / "runs", spec())
    assert read_json(run / "seed-0" / "summary.json")["choices"] == {"learner": None, "env": "fast"}


def test_any_environment_is_filmed_that_gives_pictures(spec, tmp_path):
    """`slmk eval --video` asks it to; one without pictures is said to have none."""
    film = tmp_path / "film.gif"
    score(make_run_directory(tmp_path / "runs", spec()), 1, video=film)
    assert len(iio.imread(film)) == 3
    with pytest.raises(RunError, match="this environment has no renderer"):
        score(make_run_directory(tmp_path / "blind", spec("blind")), 1, video=film)


@pytest.mark.parametrize("override", ["env.reward_scale=0.5", "env.num_envs=3"])
def test_what_evaluation_sets_itself_cannot_be_overridden(spec, tmp_path, override):
    """It would have no effect."""
    run = make_run_directory(tmp_path / "runs", spec())
    with pytest.raises(SpecError, match=f"{override.split('=')[0]}: has no effect on an evaluation"):
        score(run, 1, overrides=[override])


@pytest.mark.parametrize(
    ("section", "title"),
    [
        ({"name": "gymnasium", "id": "CartPole-v1"}, "CartPole-v1"),
        ({"name": "corridor", "length": 8}, "corridor"),
        ({"name": "corridor", "id": ""}, "corridor"),
        ({}, "unknown environment"),
    ],
)
def test_an_environment_is_called_by_its_id_or_by_its_backend(section, title):
    """As its section says, in a spec or in the manifest of a run, which may be a foreign file."""
    assert env_title(section) == title
