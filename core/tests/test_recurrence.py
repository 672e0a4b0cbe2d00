"""What networks remember travels with the observations, and is forgotten where episodes end, by hand."""

import pytest
import torch
from torch import nn

from slmk.batch import Step
from slmk.builtin import RunningConfig
from slmk.builtin.running import Running
from slmk.evaluation import play
from slmk.model import Model
from slmk.recurrence import Recurrence
from slmk.testing.toy_envs import make_toy

TRUE, FALSE = torch.tensor([True]), torch.tensor([False])


class Sum(nn.Module):
    """Remembers the sum of what it saw; its feature is that sum with the present observation."""

    carry = 1

    def forward(self, obs):
        return obs["carry"] + obs["obs"]

    advance = forward


class Count(nn.Module):
    """Remembers twice how many steps it saw."""

    carry = 2

    def forward(self, obs):
        return obs["carry"] + 1

    advance = forward


class Priced(Sum):
    """The same less the action of which it is asked; it cannot remember where there is an action."""

    def forward(self, obs):
        return super().forward(obs) - obs["action"]

    def advance(self, obs):
        assert "action" not in obs
        return super().forward(obs)


class Flat(nn.Module):
    """Remembers nothing."""

    def forward(self, obs):
        return obs["obs"]


def recurrence(**networks):
    """For a model of networks that all read ``obs``."""
    return Recurrence(Model(networks, dict.fromkeys(networks, ("obs",)), {}))


def numbers(*values):
    """One number for each environment, as a group."""
    return {"obs": torch.tensor(values, dtype=torch.float32).unsqueeze(-1)}


def step(obs, final=None, terminated=(False, False), truncated=(False, False)):
    """What two environments return."""
    return Step(obs, final or obs, torch.zeros(2), torch.tensor(terminated), torch.tensor(truncated))


def test_without_recurrent_networks_nothing_is_added():
    """Observations and steps pass through as the very same objects."""
    plain = recurrence(actor=Flat())
    obs, after = numbers(1, 2), step(numbers(3, 4))
    assert plain.start(obs) is obs
    assert plain.follow(obs, after) is after
    assert plain.attach(obs, {}, TRUE) is obs


def test_episodes_start_with_nothing_remembered():
    """Each recurrent role gets zeros of its own width, and every row is the first of an episode."""
    obs = recurrence(actor=Sum(), critic=Count(), other=Flat()).start(numbers(1, 2))
    assert list(obs) == ["obs", "carry/actor", "carry/critic", "first"]
    assert obs["carry/actor"].tolist() == [[0.0], [0.0]]
    assert obs["carry/critic"].tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert obs["first"].tolist() == [True, True]


def test_what_was_seen_is_carried_on():
    """After 1 and then 10 the sum is 11, and two steps are counted; neither step begins an episode."""
    part = recurrence(actor=Sum(), critic=Count())
    obs = part.start(numbers(1, 2))
    for values in ((10, 20), (100, 200)):
        obs = part.follow(obs, step(numbers(*values))).obs
    assert obs["carry/actor"].tolist() == [[11.0], [22.0]]
    assert obs["carry/critic"].tolist() == [[2.0, 2.0], [2.0, 2.0]]
    assert obs["first"].tolist() == [False, False]
    assert obs["obs"].tolist() == [[100.0], [200.0]]


@pytest.mark.parametrize("how", ["terminated", "truncated"])
def test_the_end_of_an_episode_is_remembered_to_its_last_observation_and_not_beyond(how):
    """In the row that ended, the new episode begins with zeros, and the final observation still has its past."""
    part = recurrence(actor=Sum())
    obs = part.start(numbers(1, 2))
    after = part.follow(obs, step(numbers(-5, 20), numbers(10, 20), **{how: (True, False)}))
    assert after.obs["obs"].tolist() == [[-5.0], [20.0]]
    assert after.obs["carry/actor"].tolist() == [[0.0], [2.0]]
    assert after.obs["first"].tolist() == [True, False]
    assert after.final_obs["obs"].tolist() == [[10.0], [20.0]]
    assert after.final_obs["carry/actor"].tolist() == [[1.0], [2.0]]
    assert after.final_obs["first"].tolist() == [False, False]


def test_where_nothing_ends_final_observations_stay_the_very_same():
    """Memories tell by this identity that there is nothing to store besides."""
    part = recurrence(actor=Sum())
    after = part.follow(part.start(numbers(1, 2)), step(numbers(3, 4)))
    assert after.final_obs is after.obs


def test_advancing_leaves_no_graph_and_no_trace():
    """What is remembered has no gradient, and the observation is as it was."""
    net = Sum()
    net.scale = nn.Parameter(torch.ones(()))
    net.advance = lambda obs: obs["carry"] + net.scale * obs["obs"]
    part = recurrence(actor=net)
    obs = part.start(numbers(1, 2))
    assert not part.advance(obs)["carry/actor"].requires_grad
    assert obs["carry/actor"].tolist() == [[0.0], [0.0]]


def test_a_model_hands_each_role_its_own_memory():
    """The network of a role is called with its carry as ``carry``."""
    model = Model({"a": Sum(), "b": Count()}, {"a": ("obs",), "b": ("obs",)}, {})
    obs = {**numbers(1), "carry/a": torch.tensor([[5.0]]), "carry/b": torch.tensor([[7.0, 8.0]]), "first": FALSE}
    assert model("a", obs).tolist() == [[6.0]]
    assert model("b", obs).tolist() == [[8.0, 9.0]]
    assert {name: x.tolist() for name, x in model.advance(obs).items()} == {"carry/a": [[6.0]], "carry/b": [[8.0, 9.0]]}
    assert model.recurrent == {"a": 1, "b": 2}


def test_a_model_hands_a_role_its_extra_inputs_but_does_not_have_them_remembered():
    """The feature depends on the action of which is asked; what is remembered does not, though it is at hand."""
    model = Model({"q": Priced()}, {"q": ("obs",)}, {}, {"q": ("action",)})
    obs = {**numbers(1), "action": torch.tensor([[10.0]]), "carry/q": torch.tensor([[5.0]]), "first": FALSE}
    assert model("q", obs).tolist() == [[-4.0]]
    assert model.target("q")("q", obs).tolist() == [[-4.0]]
    assert model.advance(obs)["carry/q"].tolist() == [[6.0]]


def test_a_target_network_reads_the_memory_of_its_role():
    """The frozen copy of a recurrent network is called with the same groups."""
    target = Model({"q": Sum()}, {"q": ("obs",)}, {}).target("q")
    obs = {**numbers(1), "carry/q": torch.tensor([[5.0]]), "first": FALSE}
    assert target("q", obs).tolist() == [[6.0]]


def test_a_target_network_sees_observations_as_the_trained_one_does():
    """Behind the same statistics, which may have moved since: 120 is 2 deviations above the mean of 90 and 110."""
    statistics = Running(RunningConfig(), (1,))
    model = Model({"q": Flat()}, {"q": ("obs",)}, {"obs": statistics})
    target = model.target("q")
    statistics.update(torch.tensor([[90.0], [110.0]]))
    assert model("q", numbers(120)).item() == target("q", numbers(120)).item() == pytest.approx(2.0)


def test_evaluation_remembers_within_episodes_only():
    """Every third step begins an episode with nothing remembered, and sums of what was shown answer the rest right."""
    part, seen = recurrence(actor=Flat(), memory=Cues()), []

    def policy(obs):
        seen.append((obs["first"].tolist(), obs["carry/memory"].tolist()))
        return (obs["obs"] + obs["carry/memory"]).argmax(-1)

    played = play(make_toy("toy-memory", num_envs=4), policy, part, 12, seed=0)
    assert played.returns == (1.0,) * 12
    assert [first[0] for first, _ in seen] == [True, False, False] * 3
    assert all(carry == [[0.0, 0.0]] * 4 for first, carry in seen if first[0])


class Cues(nn.Module):
    """Remembers the sum of one-hot observations, which is the only one that was shown."""

    carry = 2

    def forward(self, obs):
        return obs["carry"] + obs["obs"]

    advance = forward
