"""What an environment may offer beyond steps: figures of its own, and state that outlives episodes."""

from dataclasses import replace

import torch

from slmk.loop import _train_row
from slmk.run import Run
from slmk.spec import load
from slmk.testing.toy_runs import toy_spec


class Curriculum:
    """An environment whose state is not exact, but for the level of difficulty."""

    def __init__(self, env):
        self.env, self.info, self.level, self.resets = env, replace(env.info, exact_state=False), 1, 0

    def reset(self, seed=None):
        self.resets += 1
        return self.env.reset(seed)

    def metrics(self):
        return {"env/level": torch.tensor(self.level)}

    def state_dict(self):
        return {"level": self.level}

    def load_state_dict(self, state):
        self.level = state["level"]


def run_on_a_curriculum():
    run = Run(load(toy_spec()), seed=0)
    run.env = Curriculum(run.env)
    return run


def test_figures_of_the_environment_are_reported_with_those_of_the_algorithm():
    """One row has both, as numbers."""
    row = _train_row(run_on_a_curriculum(), {"loss/policy": torch.tensor(0.5)})
    assert (row["env/level"], row["loss/policy"]) == (1.0, 0.5)


def test_a_curriculum_outlives_a_resume_and_the_episodes_restart():
    """State that is not exact is in the checkpoint; new episodes begin at the level that was reached."""
    straight, resumed = run_on_a_curriculum(), run_on_a_curriculum()
    straight.env.level = 3
    resumed.load_state_dict(straight.state_dict())
    assert (resumed.env.level, resumed.env.resets) == (3, 1)
