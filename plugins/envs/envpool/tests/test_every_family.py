"""EnvPool's families behind the contract: thirty ids, from a grid of numbers to a humanoid robot and Atari."""

import pytest

from slmk.testing import Subject, check_subject, checks_of

FAMILIES = {
    "classic control": ("CartPole-v1", "Pendulum-v1", "Acrobot-v1", "MountainCarContinuous-v0"),
    "toy text": ("FrozenLake-v1", "Blackjack-v1", "Taxi-v3", "Catch-v0"),
    "Box2D": ("LunarLander-v3", "LunarLanderContinuous-v3", "BipedalWalker-v3"),
    "MuJoCo": ("HalfCheetah-v5", "Hopper-v5", "Ant-v5", "Humanoid-v5"),
    "DM Control": (
        "CheetahRun-v1",
        "WalkerWalk-v1",
        "ReacherHard-v1",
        "FingerSpin-v1",
        "HumanoidStand-v1",
        "DogRun-v1",
    ),
    "MuJoCo Playground": (
        "MuJoCoPlayground/Go1JoystickFlatTerrain-v1",
        "MuJoCoPlayground/G1JoystickRoughTerrain-v1",
        "MuJoCoPlayground/PandaPickCube-v1",
        "MuJoCoPlayground/LeapCubeReorient-v1",
    ),
    "Atari": ("Pong-v5", "Breakout-v5"),
    "MiniGrid": ("MiniGrid-DoorKey-5x5-v0",),
    "robotics": ("AdroitHandPenSparse-v1", "FetchReachDense-v4"),
}
IDS = [name for names in FAMILIES.values() for name in names]
FIRST = {names[0] for names in FAMILIES.values()}
"""One of each runs in `make test`, all of them in `make nightly`."""


def test_thirty_ids():
    """None twice."""
    assert len(set(IDS)) == len(IDS) == 30


@pytest.mark.parametrize("name", [n if n in FIRST else pytest.param(n, marks=pytest.mark.nightly) for n in IDS])
def test_the_contract_holds(name):
    """Every check passes with episodes of 20 steps."""
    subject = Subject.find("env", "envpool", options={"id": name, "max_episode_steps": 20, "num_threads": 1})
    report = check_subject(subject, checks_of("env", common=False))
    assert report.ok, str(report)
