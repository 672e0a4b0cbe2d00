"""What is refused where spaces of an environment and what a spec asks for do not go together."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

import slmk
from slmk.assembly import build_agent
from slmk.streams import Streams
from slmk_algo_ppo.ppo import PPO
from slmk_net_mlp.mlp import MLP

NUMBERS = spaces.Box(-1, 1, (5,))
PARTS = {
    "ppo": ("rollout", ("actor", "critic")),
    "sac": ("replay", ("actor", "critic")),
    "dqn": ("replay", ("q",)),
}
"""The memory and the roles of an algorithm."""


def agent(algorithm, network, action_space, groups):
    """An algorithm with its networks."""
    memory, roles = PARTS[algorithm]
    spec = {
        "name": "groups",
        "run": {"env_steps": 100_000},
        "env": {"name": "gymnasium", "id": "CartPole-v1"},
        "algorithm": {"name": algorithm},
        "memory": {"name": memory},
        "network": {role: {"name": network} for role in roles},
    }
    return build_agent(slmk.load(spec), slmk.EnvInfo(1, groups, action_space, torch.device("cpu")), Streams(0))


def problems(algorithm, network, action_space, groups):
    """What building the algorithm complains of, as (what, found)."""
    try:
        agent(algorithm, network, action_space, groups)
    except slmk.SpecError as error:
        return [(problem.message, problem.found) for problem in error.problems]
    return []


BOX = spaces.Box(-1, 1, (2,))
TAKEN = "networks are told something else under the name of this observation group"
NO_MASK = "the observation group 'mask' does not say which actions are allowed"


@pytest.mark.parametrize(
    ("algorithm", "network", "action_space", "group", "refused"),
    [
        ("sac", "mlp", BOX, "action", True),  # Critics get the action under this name,
        ("sac", "mlp", spaces.Discrete(3), "action", False),  # but not where they have a value for each,
        ("ppo", "mlp", BOX, "action", False),  # and a critic of states does not.
        ("ppo", "recurrent", BOX, "first", True),
        ("ppo", "recurrent", BOX, "carry", True),
        ("ppo", "recurrent", BOX, "carry/actor", True),
        ("ppo", "recurrent", BOX, "carrying", False),
        ("ppo", "mlp", BOX, "first", False),
    ],
)
def test_groups_do_not_take_the_name_of_something_else(algorithm, network, action_space, group, refused):
    """One would be lost without a word: networks find what they are told by its name."""
    expected = [(TAKEN, group)] if refused else []
    assert problems(algorithm, network, action_space, {"obs": NUMBERS, group: NUMBERS}) == expected


@pytest.mark.parametrize("algorithm", ["dqn", "ppo", "sac"])
@pytest.mark.parametrize(("size", "refused"), [(3, False), (5, True), (1, True)])
def test_a_mask_has_a_value_for_each_action(algorithm, size, refused):
    """One of another size would end in an error of torch, or allow all actions or none."""
    groups = {"obs": NUMBERS, "mask": spaces.MultiBinary(size)}
    expected = [(NO_MASK, str(spaces.MultiBinary(size)))] if refused else []
    assert problems(algorithm, "mlp", spaces.Discrete(3), groups) == expected


def test_an_algorithm_may_only_ask_for_the_networks_that_its_config_names(monkeypatch):
    """No spec could give it another one: that is a fault of the plugin."""
    roles = {"actor": slmk.Role(2), "critic": slmk.Role(1), "oracle": slmk.Role(1)}
    monkeypatch.setattr(PPO, "roles", staticmethod(lambda config, env: roles))
    with pytest.raises(slmk.PluginError, match="algorithm 'ppo' has networks for oracle"):
        problems("ppo", "mlp", BOX, {"obs": NUMBERS})


def test_an_algorithm_shows_what_makes_its_gradient_steps(monkeypatch):
    """Under another name they would not be counted, without a word."""
    build = PPO.__init__

    def rename(self, *arguments):
        build(self, *arguments)
        self.updater = vars(self).pop("learner")

    monkeypatch.setattr(PPO, "__init__", rename)
    with pytest.raises(slmk.PluginError, match="algorithm 'ppo' has no attribute 'learner'"):
        problems("ppo", "mlp", BOX, {"obs": NUMBERS})


def test_a_network_that_remembers_has_the_options_of_one(monkeypatch):
    """Without a window no spec could be checked for it: that is a fault of the plugin."""
    monkeypatch.setattr(MLP, "carry", 4, raising=False)
    with pytest.raises(slmk.PluginError, match="network 'mlp' remembers, so its config must be"):
        problems("ppo", "mlp", BOX, {"obs": NUMBERS})


def test_a_mask_of_several_choices_has_a_value_for_each_of_them():
    """Two choices of 2 and 3 have a mask of 5, and bits have none."""
    choices = spaces.MultiDiscrete([2, 3])
    assert problems("ppo", "mlp", choices, {"obs": NUMBERS, "mask": spaces.MultiBinary(5)}) == []
    assert problems("ppo", "mlp", choices, {"obs": NUMBERS, "mask": spaces.MultiBinary(6)}) != []
    assert problems("ppo", "mlp", spaces.MultiBinary(2), {"obs": NUMBERS, "mask": spaces.MultiBinary(2)}) != []


@pytest.mark.parametrize(("action_space", "is_read"), [(BOX, True), (spaces.Discrete(6), False)])
def test_for_continuous_actions_a_mask_is_a_group_like_others(action_space, is_read):
    """Networks read it, as it forbids nothing; a mask of discrete actions is not told to them by default."""
    built = agent("ppo", "mlp", action_space, {"obs": NUMBERS, "mask": spaces.MultiBinary(6)})
    obs = {"obs": torch.ones(2, 5), "mask": torch.tensor([[True] * 6, [False] * 6])}
    one, other = built.algorithm.model("actor", obs)
    assert torch.allclose(one, other) != is_read


@pytest.mark.parametrize("bounds", [([-1, 0], [1, 0]), ([-1, -3e38], [1, 3e38])], ids=["no width", "infinite width"])
def test_soft_actors_need_a_density_in_every_dimension(bounds):
    """An action that cannot be stretched to [−1, 1] would make every number of the critics one that is none."""
    low, high = (np.array(bound, np.float32) for bound in bounds)
    found = problems("sac", "mlp", spaces.Box(low, high), {"obs": NUMBERS})
    assert [message for message, _ in found] == ["soft actor-critics cannot act in this action space"]
