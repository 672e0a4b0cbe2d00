"""Which random stream is whose."""

from dataclasses import replace

import pytest

from slmk.loop import iterate
from slmk.streams import Streams
from slmk.testing.algorithm_runs import build_run
from slmk.testing.checkpoints import through_a_file
from slmk.testing.subject import Subject

REPLAY = {"memory": {"name": "replay", "capacity": 100}}


@pytest.mark.parametrize(
    ("algorithm", "options", "sections", "parts"),
    [
        ("ppo", {"horizon": 16, "minibatches": 1}, {}, ["init/actor", "init/critic", "memory", "policy"]),
        ("dqn", {"learning_starts": 0, "batch_size": 4}, REPLAY, ["init/q", "memory", "policy"]),
    ],
)
def test_every_part_every_evaluation_and_every_resume_has_a_stream_of_its_own(
    algorithm, options, sections, parts, monkeypatch
):
    """None draws what another one draws, and how often one is evaluated changes no other."""
    asked, integer = [], Streams.integer

    def watched(streams, name, index=0):
        asked.append((name, integer(streams, name, index)))
        return asked[-1][1]

    monkeypatch.setattr(Streams, "integer", watched)
    run = session(algorithm, options, sections)
    assert sorted(name for name, _ in asked) == ["env", *parts]
    for env_steps in (10, 20):
        run.evaluator(run.algorithm.policy, env_steps)
    run.backend.info = replace(run.env.info, exact_state=False)  # It begins new episodes where it is resumed.
    for _ in range(2):
        next(iterate(run))
        run.load_state_dict(through_a_file(run.state_dict()))
    seeds = [seed for _, seed in asked]
    assert len(set(seeds)) == len(seeds) == 1 + len(parts) + 3 + 2  # One of the evaluation's environment.


def test_an_evaluation_depends_on_env_steps_alone():
    """After as many steps it is the same one, whatever was evaluated before; after others it is another one."""
    run, other = (session("random", {}, {}) for _ in range(2))
    play = [run.evaluator(lambda obs: obs["state"][:, 0].long() * 0, env_steps) for env_steps in (10, 20, 10)]
    assert play[0] == play[2]
    assert play[0].returns != play[1].returns
    assert other.evaluator(lambda obs: obs["state"][:, 0].long() * 0, 20) == play[1]


def session(algorithm, options, sections):
    """On the probe, where returns depend on what is observed; evaluated in four episodes."""
    config = {"run": {"env_steps": 1000, "compile": "off", "eval_episodes": 4}}
    subject = Subject.find("algo", algorithm, options=options, sections={**sections, **config})
    return build_run(subject, {"name": "toy-probe", "num_envs": 2})
